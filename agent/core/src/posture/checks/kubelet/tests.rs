//! The results that kube-bench gets wrong on a Typhoon node (it takes the first file that exists of a list, matches text, and counts what it cannot
//! run as a failure), and what is so.
