//! libsrtp, where it is installed: what opens a packet here shares no line with us.

use crate::media::order::Suite;
use std::ffi::{CStr, c_int, c_uint, c_ulong, c_void};
use std::mem;
use std::ptr;
use std::sync::OnceLock;

/// `srtp_crypto_policy_t`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Words([u32; 6]);

/// `srtp_policy_t` of libsrtp 2, with room behind it for what a later version may have added.
#[repr(C)]
struct Policy {
    ssrc_type: c_uint,
    ssrc: c_uint,
    rtp: Words,
    rtcp: Words,
    key: *const u8,
    keys: *const c_void,
    keys_count: c_ulong,
    ekt: *const c_void,
    window: c_ulong,
    repeats: c_int,
    extensions: *const c_int,
    extensions_count: c_int,
    next: *const c_void,
    room: [u64; 8],
}

type Create = unsafe extern "C" fn(*mut *mut c_void, *const Policy) -> c_int;
type Unprotect = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_int) -> c_int;
type Dealloc = unsafe extern "C" fn(*mut c_void) -> c_int;
type Suited = unsafe extern "C" fn(*mut Words);

/// The loaded library.
#[derive(Clone, Copy)]
pub(crate) struct Libsrtp {
    create: Create,
    unprotect: Unprotect,
    dealloc: Dealloc,
    aes_cm: Suited,
    /// Only where it was built with a library for it.
    aes_gcm: Option<Suited>,
}

impl Libsrtp {
    /// Loads it, once for all; none where it is not installed.
    pub(crate) fn load() -> Option<Self> {
        static LOADED: OnceLock<Option<Libsrtp>> = OnceLock::new();
        *LOADED.get_or_init(Self::load_first)
    }

    fn load_first() -> Option<Self> {
        // SAFETY: loads a library by name; what it runs by that is its own business. It stays loaded for the
        // life of the process, so what is found in it may be called for ever.
        let library = unsafe { libc::dlopen(c"libsrtp2.so.1".as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            return None;
        }
        let find = |name: &CStr| {
            // SAFETY: the library is loaded, and the name ends in zero.
            let found = unsafe { libc::dlsym(library, name.as_ptr()) };
            (!found.is_null()).then_some(found)
        };
        // SAFETY: these functions have these types in all of libsrtp 2 (`srtp.h`).
        let (init, loaded) = unsafe {
            let init: unsafe extern "C" fn() -> c_int = mem::transmute(find(c"srtp_init")?);
            let loaded = Self {
                create: mem::transmute::<*mut c_void, Create>(find(c"srtp_create")?),
                unprotect: mem::transmute::<*mut c_void, Unprotect>(find(c"srtp_unprotect")?),
                dealloc: mem::transmute::<*mut c_void, Dealloc>(find(c"srtp_dealloc")?),
                aes_cm: mem::transmute::<*mut c_void, Suited>(find(
                    c"srtp_crypto_policy_set_rtp_default",
                )?),
                aes_gcm: find(c"srtp_crypto_policy_set_aes_gcm_128_16_auth")
                    .map(|found| mem::transmute::<*mut c_void, Suited>(found)),
            };
            (init, loaded)
        };
        // SAFETY: takes nothing, and is called once.
        (unsafe { init() } == 0).then_some(loaded)
    }

    /// Opens one packet under key and salt.
    pub(crate) fn open(&self, of: Suite, key: &[u8], packet: &[u8]) -> Option<Vec<u8>> {
        const ANY_INBOUND: c_uint = 2;
        // It reads as many as the suite says.
        (key.len() == of.of_sdp().key_salt_len()).then_some(())?;
        let suited = match of {
            Suite::AesCm => self.aes_cm,
            Suite::AesGcm => self.aes_gcm?,
        };
        let mut suite = Words([0; 6]);
        // SAFETY: writes one suite, which outlives the call.
        unsafe { suited(&mut suite) };
        let policy = Policy {
            ssrc_type: ANY_INBOUND,
            ssrc: 0,
            rtp: suite,
            rtcp: suite,
            key: key.as_ptr(),
            keys: ptr::null(),
            keys_count: 0,
            ekt: ptr::null(),
            window: 128,
            repeats: 0,
            extensions: ptr::null(),
            extensions_count: 0,
            next: ptr::null(),
            room: [0; 8],
        };
        let mut session = ptr::null_mut();
        // SAFETY: reads policy and key, which outlive the call, and writes one pointer.
        if unsafe { (self.create)(&mut session, &policy) } != 0 {
            return None;
        }
        // It works in words: the packet begins at one.
        let mut words = vec![0_u32; packet.len().div_ceil(4) + 8];
        let mut len = packet.len() as c_int;
        let at: *mut u8 = words.as_mut_ptr().cast();
        // SAFETY: the packet fits; both places are ours alone. The session is given back right after.
        let (opened, octets) = unsafe {
            ptr::copy_nonoverlapping(packet.as_ptr(), at, packet.len());
            let opened = (self.unprotect)(session, at.cast(), &mut len);
            (self.dealloc)(session);
            (
                opened,
                std::slice::from_raw_parts(at, usize::try_from(len).unwrap_or(0).min(packet.len())),
            )
        };
        (opened == 0).then(|| octets.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::Libsrtp;
    use crate::media::order::Suite;
    use media::PacketBuf;

    /// Where libsrtp is not installed there is nothing to compare with.
    #[test]
    fn what_the_far_sides_send_opens_in_libsrtp_and_under_no_other_key() {
        let Some(libsrtp) = Libsrtp::load() else { return };
        assert!(Libsrtp::load().is_some(), "a second time it is there, too");
        for suite in [Suite::AesCm, Suite::AesGcm] {
            let (mut sender, right, wrong) =
                (suite.far_sender(1), suite.far_key(1), suite.far_key(0));
            for sequence in 0..300_u16 {
                let mut packet = vec![0x80, 8];
                packet.extend(sequence.to_be_bytes());
                packet.extend([0, 0, 0, 1, 0, 0, 0, 2]);
                packet.extend([sequence as u8; 160]);
                let mut slot = PacketBuf::new();
                slot.set_len(packet.len());
                slot.packet_mut().copy_from_slice(&packet);
                sender.protect(&mut slot).unwrap();
                assert_eq!(libsrtp.open(suite, &right, slot.packet()), Some(packet));
                assert_eq!(libsrtp.open(suite, &wrong, slot.packet()), None);
            }
        }
    }
}
