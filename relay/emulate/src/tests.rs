//! Whole calls between two agents over a pipe in virtual time, and the strict side alone.

mod calls;
mod chains;
mod manners;
mod pipe;
mod strictness;

pub(crate) use pipe::zero;
