//! The kubelet stand-in as a program; what it does is told in `tests::kubelet`.

fn main() -> std::process::ExitCode {
    tests::kubelet::main()
}
