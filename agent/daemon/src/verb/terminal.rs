//! What the verbs know of the terminal they write to.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use tokio::io::Interest;
use tokio::net::unix::pipe;

/// The width of a page on paper; what is assumed where there is no terminal.
const WIDTH: usize = 80;

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// Is it one at all? Only then may the cursor be moved.
    pub interactive: bool,
    /// May text have colours? <https://no-color.org>, and a terminal that is not `dumb`.
    pub color: bool,
}

impl Terminal {
    /// Looks at standard output and the environment.
    pub fn of_stdout() -> Self {
        let interactive = io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { interactive: interactive && !dumb, color: interactive && !dumb && !set("NO_COLOR") }
    }

    /// Columns and rows now; a window may have another size at the next look.
    pub fn size(self) -> (usize, Option<usize>) {
        if !self.interactive {
            return (WIDTH, None);
        }
        match rustix::termios::tcgetwinsize(io::stdout()) {
            // A serial line says 0 times 0.
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (usize::from(size.ws_col), Some(usize::from(size.ws_row)))
            }
            _ => (WIDTH, None),
        }
    }
}

/// Writes to standard output at once. A reader that went away (`| head`) is no fault: false says that nobody reads any more.
pub fn print(text: &str) -> bool {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Ends when the reader of standard output went away (`| head`): who only writes when something changes would not see it
/// for days. Where that cannot be watched, as for a file, it never ends.
pub async fn reader_gone() {
    // Only watched, never written through, so it may stay blocking; and it need not be a pipe: a terminal hangs up too.
    let watched =
        io::stdout().as_fd().try_clone_to_owned().and_then(|out| pipe::Sender::from_file_unchecked(File::from(out)));
    if let Ok(out) = watched
        && out.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// The alternate screen; leaving is dropping, so no way out forgets it.
#[derive(Debug)]
pub struct Canvas(());

impl Canvas {
    /// Enters it and hides the cursor.
    pub fn enter() -> Self {
        print("\x1b[?1049h\x1b[?25l");
        Self(())
    }

    /// Draws `lines` from the top, without a flicker: each line is overwritten and its rest erased. Lines below the last row
    /// are left out.
    pub fn draw(&self, text: &str, rows: Option<usize>) -> bool {
        print(&frame(text, rows))
    }
}

impl Drop for Canvas {
    fn drop(&mut self) {
        print("\x1b[?25h\x1b[?1049l");
    }
}

fn frame(text: &str, rows: Option<usize>) -> String {
    let lines: Vec<&str> = text.lines().take(rows.unwrap_or(usize::MAX)).collect();
    // No line end after the last one: it would scroll a full screen.
    format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_the_rows() {
        for (rows, want) in
            [(None, "\x1b[Ha\x1b[K\r\nb\x1b[K\r\nc\x1b[K\x1b[J"), (Some(2), "\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J")]
        {
            assert_eq!(frame("a\nb\nc\n", rows), want, "{rows:?}");
        }
    }
}
