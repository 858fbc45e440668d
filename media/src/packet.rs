//! One packet slot of fixed size, with head- and tailroom so that SRTP grows in place.

/// The largest datagram that is forwarded, in octets; a larger one is dropped (`too_big`).
pub const PACKET_MAX: usize = 1500;
/// Room behind the packet for SRTP's tag, SRTCP's index and an MKI, in octets.
pub const TAILROOM: usize = 64;

/// One slot of a worker's pool, or one that lies within memory shared with the kernel: octets first,
/// any octets are a valid slot whose length is at most its size, and it wants an even address only.
#[derive(Clone)]
#[repr(C)]
pub struct PacketBuf {
    octets: [u8; PACKET_MAX + TAILROOM],
    len: u16,
}

impl PacketBuf {
    /// An empty slot.
    pub const fn new() -> Self {
        Self { octets: [0; PACKET_MAX + TAILROOM], len: 0 }
    }
    /// The packet.
    pub fn packet(&self) -> &[u8] {
        &self.octets[..self.len()]
    }
    /// The packet, to change in place.
    pub fn packet_mut(&mut self) -> &mut [u8] {
        let len = self.len();
        &mut self.octets[..len]
    }
    /// All octets of the slot, for receiving into and for growing.
    pub fn octets_mut(&mut self) -> &mut [u8; PACKET_MAX + TAILROOM] {
        &mut self.octets
    }
    /// The packet's length in octets.
    pub const fn len(&self) -> usize {
        self.len as usize
    }
    /// Whether the slot is empty.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Sets the packet's length; at most the slot's size.
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(self.octets.len()) as u16;
    }
}

impl Default for PacketBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for PacketBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PacketBuf({} octets)", self.len)
    }
}
