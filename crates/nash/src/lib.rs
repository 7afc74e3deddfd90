//! The Nash bargaining kernel: a Gram matrix in, bargaining weights out.
