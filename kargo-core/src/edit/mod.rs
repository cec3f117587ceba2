//! Edits of configuration files that change the wanted bytes and no others.
//!
//! People read and review the files that a promotion changes. An edit here therefore never parses a file into
//! values and writes the values back: it finds the bytes of one value, replaces them, and leaves comments, order,
//! quoting, indentation, line endings and everything else as they were. Before an edit is returned it is read
//! again and compared with what was asked for; an edit that would say anything else is an error.
//!
//! Nothing here opens a file: text comes in, text goes out.

pub mod yaml;
