//! The stand-ins for rpm-ostreed and update_engine as a program, for a host with a real logind: on the real system bus, with real reboots.
//!
//! `os-standin policy rpm-ostree` prints the bus's rules for it (into /etc/dbus-1/system.d), `os-standin rpm-ostree` serves. Its unit is
//! `Type=dbus`, after `dbus.service` and before whoever asks it; when it is stopped by a shutdown it does what ostree-finalize-staged.service does.
//! Scenarios move it by the interface `io.eyewall.Standin` (busctl).

fn main() -> std::process::ExitCode {
    tests::os_standin::main()
}
