/* Writes packets.txt: what libsrtp makes of pseudo-random packets. ../libsrtp.rs compares.
 *
 * Built against libsrtp 2.3.0 with its own AES and SHA-1:
 *   cc generate.c -I$LIBSRTP/include libsrtp2.a -o generate && ./generate > packets.txt
 *
 * Sequence numbers start below 2^15 and pass 2^16 once, with late packets after it.
 */
#include <srtp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long long state = 0x70119a7e;

static unsigned next(unsigned below)
{
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(state >> 33) % below;
}

static void fill(unsigned char *at, int len)
{
    while (len--)
        *at++ = next(256);
}

static void hex(const unsigned char *at, int len)
{
    while (len--)
        printf("%02x", *at++);
}

static void check(srtp_err_status_t status)
{
    if (status != srtp_err_status_ok) {
        fprintf(stderr, "libsrtp says %d\n", status);
        exit(1);
    }
}

static void word(unsigned char *at, unsigned value)
{
    at[0] = value >> 24, at[1] = value >> 16, at[2] = value >> 8, at[3] = value;
}

/* A packet with some CSRCs, perhaps an extension, and 0 to 99 octets of payload. */
static int rtp(unsigned char *p, unsigned ssrc, unsigned sequence)
{
    int csrcs = next(4), extension = next(2), words = next(3), payload = next(100), len = 12;
    p[0] = 0x80 | extension << 4 | csrcs;
    p[1] = next(2) << 7 | 8;
    p[2] = sequence >> 8, p[3] = sequence;
    word(p + 4, next(1u << 31));
    word(p + 8, ssrc);
    fill(p + len, 4 * csrcs), len += 4 * csrcs;
    if (extension) {
        word(p + len, 0xbede0000 | words), len += 4;
        fill(p + len, 4 * words), len += 4 * words;
    }
    fill(p + len, payload);
    return len + payload;
}

static int rtcp(unsigned char *p, unsigned ssrc)
{
    int words = 1 + next(20);
    word(p, 0x80c90000 | words);
    word(p + 4, ssrc);
    fill(p + 8, 4 * (words - 1));
    return 4 + 4 * words;
}

static void scenario(int bits, int mki_len)
{
    static const unsigned sequences[] = { 32000, 32001, 60000, 65533, 65535, 0, 65534, 1, 3, 2, 20000 };
    unsigned char key[30], mki[4] = { 0, 0, 0, 1 }, packet[1024];
    unsigned char *id = mki + 4 - mki_len;
    srtp_master_key_t master = { key, id, mki_len }, *masters[] = { &master };
    srtp_policy_t policy;
    srtp_t session;
    unsigned ssrcs[2];
    size_t at;

    fill(key, sizeof key);
    memset(&policy, 0, sizeof policy);
    if (bits == 80)
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy.rtp);
    else
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32(&policy.rtp);
    srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy.rtcp);
    policy.ssrc.type = ssrc_any_outbound;
    policy.window_size = 128;
    if (mki_len)
        policy.keys = masters, policy.num_master_keys = 1;
    else
        policy.key = key;
    check(srtp_create(&session, &policy));
    printf("key %d %d ", bits, mki_len);
    hex(key, sizeof key);
    printf("\n");
    ssrcs[0] = next(1u << 31), ssrcs[1] = next(1u << 31);
    for (at = 0; at < 2 * sizeof sequences / sizeof *sequences; at++) {
        int len = rtp(packet, ssrcs[at % 2], sequences[at / 2]);
        printf("rtp ");
        hex(packet, len);
        check(srtp_protect_mki(session, packet, &len, mki_len != 0, 0));
        printf(" ");
        hex(packet, len);
        printf("\n");
    }
    for (at = 0; at < 6; at++) {
        int len = rtcp(packet, ssrcs[0]);
        printf("rtcp ");
        hex(packet, len);
        check(srtp_protect_rtcp_mki(session, packet, &len, mki_len != 0, 0));
        printf(" ");
        hex(packet, len);
        printf("\n");
    }
    srtp_dealloc(session);
}

int main(void)
{
    check(srtp_init());
    printf("# libsrtp 2.3.0, generate.c: key BITS MKI_OCTETS KEY_SALT, then rtp|rtcp PLAIN PROTECTED\n");
    scenario(80, 0), scenario(80, 1), scenario(80, 4);
    scenario(32, 0), scenario(32, 1), scenario(32, 4);
    return 0;
}
