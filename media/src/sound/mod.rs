//! Sounds of our own: tones, comfort noise, music.

pub(crate) mod sine;
