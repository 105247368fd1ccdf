//! `eyewall kubelet` as the process that systemd starts: what it hands over to the runtime it becomes, what it does about
//! images, files and deadlines on the way there, and that none of it tells a secret. Its plan in detail is tested beside the
//! code.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::container::host::{FIRST, Host, SECOND, files};
use tests::node::hurried;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_runtime_is_this_process_and_has_all_that_it_had() -> Result<()> {
    for runtime in ["podman", "docker"] {
        let host = Host::new(&[runtime])?;
        host.runtimes.put("present", &[FIRST])?;
        host.runtimes.put("exit-code", &["3"])?;
        let before = files(host.directory())?;
        let printed = host.run(&["--print", "--json"]).await?;
        assert_eq!(printed.code, Some(0), "{runtime}: {}", printed.log);
        let printed: Value = serde_json::from_str(&printed.output)?;
        assert_eq!(files(host.directory())?, before, "{runtime}: printing changes nothing");
        assert_eq!(host.runtimes.calls(), [""; 0], "{runtime}: and asks nobody");

        let child = host.start(&[])?;
        let pid = child.id().context("it runs")?;
        let told = host.end(child).await?;
        assert_eq!(told.code, Some(3), "{runtime}: the runtime's own exit code: {}", told.log);
        assert_eq!(told.output, "the kubelet's output\n", "{runtime}: its output is the unit's, and ours is not in it");
        assert!(told.log.ends_with("\nthe kubelet's log\n"), "{runtime}: and so is its log: {}", told.log);

        let run = host.runtimes.run()?;
        assert_eq!(run.status["Pid"], pid.to_string(), "{runtime}: execve, not fork");
        let mut command = vec![host.runtimes.path().join(runtime).display().to_string()];
        command.extend(run.arguments.clone());
        assert_eq!(printed["commands"][1], Value::from(command), "{runtime}: what was printed is what is done");

        // The same program started at once, as systemd would have: it must find itself no poorer and no richer.
        let mut alone = Command::new(host.runtimes.path().join(runtime));
        timeout(SOON, host.surroundings(alone.arg("run"))?.output()).await??;
        let alone = host.runtimes.run()?;
        assert_eq!(run.environment, alone.environment, "{runtime}: nothing is added for the kubelet to see");
        assert_eq!(run.descriptors, alone.descriptors, "{runtime}: no file of ours stays open");
        for field in ["SigBlk", "SigIgn", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Umask"] {
            assert_eq!(run.status.get(field), alone.status.get(field), "{runtime}: {field}");
            assert!(run.status.contains_key(field), "{field}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn sigterm_ends_it_wherever_it_stands() -> Result<()> {
    // In the runtime, which passes it on: 143 is a good end to kubelet.service.
    let host = Host::new(&["podman"])?;
    host.runtimes.put("present", &[FIRST])?;
    let child = host.start(&[])?;
    let pid = Pid::from_raw(i32::try_from(host.runtimes.running().await?)?);
    assert_eq!(child.id().map(i32::try_from).transpose()?, Some(pid.as_raw()));
    kill(pid, Signal::SIGTERM)?;
    assert_eq!(host.end(child).await?.code, Some(143));
    assert!(host.runtimes.was_terminated());

    // While it waits for the kubeconfig.
    let host = Host::new(&["podman"])?;
    host.runtimes.put("present", &[FIRST])?;
    std::fs::remove_file(host.path("root/var/lib/kubelet/kubeconfig"))?;
    let child = host.start(&[])?;
    let pid = Pid::from_raw(i32::try_from(child.id().context("it runs")?)?);
    let chosen = async {
        while host.runtimes.calls().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, chosen).await.context("no image was looked for")?;
    let told_at = Instant::now();
    kill(pid, Signal::SIGTERM)?;
    let told = host.end(child).await?;
    assert_eq!(told.signal, Some(Signal::SIGTERM as i32), "{told:?}");
    assert!(told_at.elapsed() < Duration::from_secs(1), "{:?}", told_at.elapsed());
    assert!(host.runtimes.run().is_err() && host.record().is_err(), "nothing was run or recorded");
    Ok(())
}

#[tokio::test]
async fn an_image_that_cannot_be_had_is_passed_over_and_the_reason_kept() -> Result<()> {
    for runtime in ["podman", "docker"] {
        let host = Host::new(&[runtime])?;
        host.runtimes.put("exit-code", &["0"])?;
        host.runtimes.put("pullable", &[SECOND])?;
        let told = host.run(&[]).await?;
        assert_eq!(told.code, Some(0), "{runtime}: {}", told.log);
        let event = told.event("kubelet-image-fallback: ")?;
        for part in [SECOND, "manifest unknown", "position=1", &format!("runtime={runtime}")] {
            assert!(event.contains(part), "{runtime}: {part:?} in {event:?}");
        }
        let run = host.runtimes.run()?;
        assert!(run.arguments.contains(&SECOND.to_owned()) && !run.arguments.contains(&FIRST.to_owned()), "{runtime}");
        let record = host.record()?;
        assert_eq!((&record["reference"], &record["position"]), (&SECOND.into(), &1.into()), "{runtime}");
        assert_eq!(record["passed_over"][0]["kind"], "image-pull-failed", "{runtime}: {record}");

        // The next start tries the first one again.
        host.runtimes.put("pullable", &[FIRST, SECOND])?;
        let told = host.run(&[]).await?;
        assert!(told.event("kubelet-image-chosen: ")?.contains(FIRST), "{runtime}: {}", told.log);
        assert_eq!(host.record()?["position"], 0, "{runtime}");
        assert!(!told.log.contains("kubelet-config-written"), "{runtime}: the first start wrote it");
    }
    Ok(())
}

#[tokio::test]
async fn a_pull_that_never_ends_is_given_up_and_its_process_ended() -> Result<()> {
    let mut host = Host::new(&["podman"])?;
    // Ten minutes are two seconds.
    host.pace(hurried(300)?);
    host.runtimes.put("exit-code", &["0"])?;
    host.runtimes.put("slow", &[FIRST])?;
    host.runtimes.put("present", &[SECOND])?;
    let child = host.start(&[])?;
    let pulling = async {
        loop {
            let children = children(child.id().unwrap_or_default()).await;
            if let Some(pull) = children.into_iter().find(|(_, command)| command.contains("sleep")) {
                return pull.0;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let pull = timeout(SOON, pulling).await.context("no pull")?;
    let told = host.end(child).await?;
    assert_eq!(told.code, Some(0), "{}", told.log);
    let record = host.record()?;
    assert_eq!(
        (&record["reference"], &record["passed_over"][0]["kind"]),
        (&SECOND.into(), &"image-pull-timed-out".into())
    );
    assert!(told.event("kubelet-image-fallback: ")?.contains("it was not here after 600 s"), "{}", told.log);
    let gone = async {
        while Path::new("/proc").join(pull.to_string()).exists() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), gone).await.context("the pull goes on")?;
    Ok(())
}

/// The processes that a process has started: number and command line.
async fn children(pid: u32) -> Vec<(u32, String)> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let numbers = list.split_whitespace().filter_map(|number| number.parse().ok());
    numbers
        .map(|number: u32| {
            let command = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            (number, String::from_utf8_lossy(&command).into_owned())
        })
        .collect()
}

#[tokio::test]
async fn a_start_that_cannot_be_has_one_event_with_its_word_and_leaves_nothing_behind() -> Result<()> {
    type Change = fn(&mut Host) -> Result<()>;
    /// Name, runtimes, what is wrong, exit code, word, a part of the sentence.
    type Case = (&'static str, &'static [&'static str], Change, u8, &'static str, &'static str);
    let cases: [Case; 9] = [
        ("no image", &["podman"], |_| Ok(()), 1, "kubelet-image-unavailable", "manifest unknown"),
        ("no runtime", &[], |_| Ok(()), 1, "no-container-runtime", "install one, or set kubelet.runtime"),
        (
            "another runtime than the wanted one",
            &["podman"],
            |host| host.configure("[kubelet]\nruntime = \"docker\"\n"),
            1,
            "no-container-runtime",
            "there is no docker on this host",
        ),
        (
            "a runtime that vanishes",
            &["podman"],
            |host| {
                host.runtimes.put("present", &[FIRST])?;
                host.runtimes.put("vanishing", &[])
            },
            1,
            "container-runtime-not-run",
            "cannot be run: No such file or directory",
        ),
        (
            "no bootstrap kubeconfig",
            &["podman"],
            |host| Ok(std::fs::remove_file(host.path("root/etc/kubernetes/kubeconfig"))?),
            1,
            "bootstrap-kubeconfig-missing",
            "/etc/kubernetes/kubeconfig",
        ),
        (
            "half a bootstrap kubeconfig",
            &["podman"],
            |host| {
                let text = std::fs::read_to_string(host.path("root/etc/kubernetes/kubeconfig"))?;
                host.put("root/etc/kubernetes/kubeconfig", &text.replace("    token:", "   \t- token: ["))
            },
            1,
            "bootstrap-kubeconfig-malformed",
            "/etc/kubernetes/kubeconfig",
        ),
        (
            "a file where a directory must be",
            &["podman"],
            |host| host.put("root/opt/cni", ""),
            1,
            "disk-error",
            "/opt/cni/bin cannot be written",
        ),
        (
            "images without digests",
            &["podman"],
            |host| host.configure("[kubelet]\nrequire_digest = true\n"),
            78,
            "config-invalid",
            "kubelet.require_digest wants one",
        ),
        (
            "no kubeconfig from the daemon in a minute",
            &["podman"],
            |host| {
                host.pace(hurried(60)?);
                host.runtimes.put("present", &[FIRST])?;
                Ok(std::fs::remove_file(host.path("root/var/lib/kubelet/kubeconfig"))?)
            },
            1,
            "kubelet-kubeconfig-missing",
            "is eyewall.service running?",
        ),
    ];
    for (name, runtimes, change, code, kind, words) in cases {
        let mut host = Host::new(runtimes)?;
        // Of a start before, whose kubelet is not the one that runs when this one has failed.
        host.put("root/run/eyewall/kubelet.json", "{}")?;
        change(&mut host).context(name)?;
        let told = host.run(&[]).await.context(name)?;
        assert_eq!(told.code, Some(i32::from(code)), "{name}: {}", told.log);
        let event = told.event("kubelet-start-failed: ").context(name)?;
        assert!(event.starts_with("kubelet-start-failed: the kubelet could not be started: "), "{name}: {event}");
        assert!(event.contains(words) && event.ends_with(&format!("(kind={kind})")), "{name}: {event}");
        assert!(host.runtimes.run().is_err(), "{name}: nothing was run");
        assert_eq!(told.output, "", "{name}");
        if code != 78 {
            assert!(host.record().is_err(), "{name}: there is no record of a start that did not come");
        }
    }
    Ok(())
}

#[tokio::test]
async fn stop_and_remove_find_nothing_or_end_what_runs() -> Result<()> {
    for (name, runtimes, state, verb, code, words) in [
        ("podman, nothing runs", &["podman"][..], "", "stop", 0, ""),
        ("podman, nothing to remove", &["podman"], "", "remove", 0, ""),
        ("docker, nothing runs", &["docker"], "", "stop", 0, ""),
        ("docker, nothing to remove", &["docker"], "", "remove", 0, ""),
        ("no runtime", &[], "", "remove", 0, ""),
        ("podman, running", &["podman"], "running", "stop", 0, ""),
        ("docker, running", &["docker"], "running", "remove", 0, ""),
        ("podman, stuck", &["podman"], "stuck", "stop", 1, "the container is still there: Error: it does not want to"),
        ("docker, stuck", &["docker"], "stuck", "remove", 1, "the container is still there: Error: device busy"),
    ] {
        let host = Host::new(runtimes)?;
        if !state.is_empty() {
            host.runtimes.put(state, &[])?;
            host.runtimes.put("running", &["kubelet"])?;
        }
        let before = files(host.directory())?;
        let told = host.run(&[verb]).await?;
        assert_eq!(told.code, Some(code), "{name}: {}", told.log);
        assert!(told.log.contains(words) && told.output.is_empty(), "{name}: {told:?}");
        assert_eq!(told.log.is_empty(), code == 0, "{name}: {}", told.log);
        assert_eq!(files(host.directory())?, before, "{name}: the host's files are not its business");
    }
    Ok(())
}
