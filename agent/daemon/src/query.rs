//! The client side of the socket: what the verbs ask the daemon.
