//! `eyewall completions`: what a shell needs to complete our command line.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Generator;
use clap_complete::shells::{Bash, Fish, Zsh};

/// The flags of `eyewall completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// For which shell
    shell: Shell,
}

/// The shells of the hosts we know.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Runs the verb.
pub fn main(args: &Args) -> ExitCode {
    let script = match args.shell {
        Shell::Bash => script(&Bash),
        Shell::Zsh => script(&Zsh),
        Shell::Fish => script(&Fish),
    };
    match script {
        Ok(script) => {
            super::terminal::print(&script);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("eyewall completions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn script(shell: &impl Generator) -> std::io::Result<String> {
    let mut command = crate::Cli::command();
    command.build();
    command.set_bin_name("eyewall");
    let mut script = Vec::new();
    shell.try_generate(&command, &mut script)?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_every_verb() {
        for (shell, text) in [("bash", script(&Bash)), ("zsh", script(&Zsh)), ("fish", script(&Fish))] {
            let text = text.expect("generated");
            for word in ["certificates", "needs-renewal", "watch", "socket"] {
                assert!(text.contains(word), "{shell}: {word}");
            }
        }
    }

    /// clap checks its own tree only when asked to.
    #[test]
    fn the_command_line_is_sound() {
        crate::Cli::command().debug_assert();
    }
}
