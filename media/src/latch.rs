//! Which source address a stream believes.
