//! Who shares what: sharing strategies, heads, and the multi-task model they make.
