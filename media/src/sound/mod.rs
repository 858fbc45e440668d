//! Sounds of our own: tones, comfort noise, music.

mod player;
pub(crate) mod sine;

pub(crate) use player::Player;
