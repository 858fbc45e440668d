//! Whole calls between two agents over a pipe in virtual time, and the strict side alone.

mod calls;
mod pipe;
mod strictness;

pub(crate) use pipe::zero;
