//! SDP and offer/answer from outside the crate.
#[cfg(test)]
mod dtls;
#[cfg(test)]
mod fax;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod mutations;
#[cfg(test)]
mod offer_answer;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod several_lines;
#[cfg(test)]
mod support;
#[cfg(test)]
mod teams;
