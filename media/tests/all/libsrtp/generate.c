/* Writes packets.txt and flows.txt: what libsrtp makes of pseudo-random packets. ../libsrtp.rs and
 * ../contexts.rs compare.
 *
 * Built against libsrtp 2.5.0 of Debian 12 (libsrtp2-dev), which has AES-256 and AES-GCM:
 *   cc generate.c -lsrtp2 -o generate && ./generate packets > packets.txt && ./generate flows > flows.txt
 *
 * In packets.txt sequence numbers start below 2^15 and pass 2^16 once, with late packets after it.
 * In flows.txt a far side does what far sides do in calls, once for each suite.
 */
#include <srtp2/srtp.h>
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

struct suite {
    const char *name;
    int key_len;
    void (*rtp)(srtp_crypto_policy_t *), (*rtcp)(srtp_crypto_policy_t *);
};

static const struct suite suites[] = {
    { "AES_CM_128_HMAC_SHA1_80", 30, srtp_crypto_policy_set_rtp_default,
      srtp_crypto_policy_set_rtp_default },
    { "AES_CM_128_HMAC_SHA1_32", 30, srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32,
      srtp_crypto_policy_set_rtp_default },
    { "AES_256_CM_HMAC_SHA1_80", 46, srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80,
      srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80 },
    { "AEAD_AES_128_GCM", 28, srtp_crypto_policy_set_aes_gcm_128_16_auth,
      srtp_crypto_policy_set_aes_gcm_128_16_auth },
    { "AEAD_AES_256_GCM", 44, srtp_crypto_policy_set_aes_gcm_256_16_auth,
      srtp_crypto_policy_set_aes_gcm_256_16_auth },
};
enum { SUITES = sizeof suites / sizeof *suites };

/* A session under a fresh key, which is printed. */
static srtp_t session_of(const struct suite *suite, int mki_len)
{
    static unsigned char key[64], mki[4] = { 0, 0, 0, 1 };
    srtp_master_key_t master = { key, mki + 4 - mki_len, mki_len }, *masters[] = { &master };
    srtp_policy_t policy;
    srtp_t session;

    fill(key, suite->key_len);
    memset(&policy, 0, sizeof policy);
    suite->rtp(&policy.rtp), suite->rtcp(&policy.rtcp);
    policy.ssrc.type = ssrc_any_outbound;
    policy.window_size = 128;
    if (mki_len)
        policy.keys = masters, policy.num_master_keys = 1;
    else
        policy.key = key;
    check(srtp_create(&session, &policy));
    hex(key, suite->key_len);
    printf("\n");
    return session;
}

static void send_rtp(srtp_t session, unsigned char *packet, int len, int with_mki)
{
    hex(packet, len);
    check(srtp_protect_mki(session, packet, &len, with_mki, 0));
    printf(" ");
    hex(packet, len);
    printf("\n");
}

static void packets(const struct suite *suite, int mki_len)
{
    static const unsigned sequences[] = { 32000, 32001, 60000, 65533, 65535, 0, 65534, 1, 3, 2, 20000 };
    unsigned char packet[1024];
    unsigned ssrcs[2];
    srtp_t session;
    size_t at;

    printf("key %s %d ", suite->name, mki_len);
    session = session_of(suite, mki_len);
    ssrcs[0] = next(1u << 31), ssrcs[1] = next(1u << 31);
    for (at = 0; at < 2 * sizeof sequences / sizeof *sequences; at++) {
        int len = rtp(packet, ssrcs[at % 2], sequences[at / 2]);
        printf("rtp ");
        send_rtp(session, packet, len, mki_len != 0);
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

/* A packet of a flow: under which of two keys, from which source, and the rollover counter where the
 * source has been sending for long. */
struct step {
    int key;
    unsigned ssrc, sequence, roc;
};

static void flow(const struct suite *suite, const char *name, const struct step *steps, int count)
{
    srtp_t sessions[2];
    int at;

    printf("flow %s %s\n", name, suite->name);
    for (at = 0; at < 2; at++) {
        printf("key ");
        sessions[at] = session_of(suite, 0);
    }
    for (at = 0; at < count; at++) {
        const struct step *step = steps + at;
        unsigned char packet[256];
        int len = 20;

        if (step->roc) {
            unsigned char early[64] = { 0x80, 8 };
            int early_len = 20;
            early[3] = 1;
            word(early + 8, step->ssrc);
            check(srtp_protect(sessions[step->key], early, &early_len));
            check(srtp_set_stream_roc(sessions[step->key], step->ssrc, step->roc));
        }
        packet[0] = 0x80, packet[1] = 8;
        packet[2] = step->sequence >> 8, packet[3] = step->sequence;
        word(packet + 4, 160 * at);
        word(packet + 8, step->ssrc);
        fill(packet + 12, 8);
        printf("rtp %d ", step->key);
        send_rtp(sessions[step->key], packet, len, 0);
    }
    srtp_dealloc(sessions[0]), srtp_dealloc(sessions[1]);
}

#define FLOW(name, ...) \
    do { \
        static const struct step steps[] = { __VA_ARGS__ }; \
        flow(suite, name, steps, sizeof steps / sizeof *steps); \
    } while (0)

static void flows(const struct suite *suite)
{
    FLOW("hold_over_a_rollover", { 0, 7, 32760 }, { 0, 7, 65000 }, { 0, 7, 65535 }, { 0, 7, 0 }, { 0, 7, 1 },
         { 0, 7, 2 }, { 0, 7, 30000 }, { 0, 7, 30001 });
    FLOW("new_key", { 0, 7, 32760 }, { 0, 7, 65000 }, { 0, 7, 100 }, { 0, 7, 101 }, { 1, 7, 102 }, { 1, 7, 103 },
         { 1, 7, 104 });
    FLOW("late_joiner", { 0, 7, 20000, 3 }, { 0, 7, 20001 }, { 0, 7, 20002 }, { 0, 7, 20003 });
    FLOW("source_change", { 0, 7, 100 }, { 0, 7, 101 }, { 0, 9, 60000 }, { 0, 9, 65535 }, { 0, 9, 0 }, { 0, 7, 102 },
         { 0, 9, 1 });
    FLOW("jumps", { 0, 7, 10 }, { 0, 7, 32000 }, { 0, 7, 64000 }, { 0, 7, 30000 }, { 0, 7, 30001 }, { 0, 7, 62000 },
         { 0, 7, 500 });
    FLOW("wrap_out_of_order", { 0, 7, 30000 }, { 0, 7, 60000 }, { 0, 7, 65533 }, { 0, 7, 65535 }, { 0, 7, 1 },
         { 0, 7, 65534 }, { 0, 7, 0 }, { 0, 7, 65532 }, { 0, 7, 3 }, { 0, 7, 2 });
    FLOW("two_keys_alive", { 0, 7, 1000 }, { 0, 7, 1001 }, { 1, 7, 1004 }, { 0, 7, 1002 }, { 1, 7, 1005 },
         { 0, 7, 1003 }, { 1, 7, 1006 }, { 0, 7, 1007 });
    FLOW("restart_of_a_carrier", { 0, 7, 1000 }, { 0, 7, 1001 }, { 0, 7, 1002 }, { 0, 0xcafe0000, 503 },
         { 0, 0xcafe0000, 504 });
}

int main(int argc, char **argv)
{
    int at, mki_len, all = argc > 1 && !strcmp(argv[1], "packets");

    check(srtp_init());
    if (all)
        printf("# libsrtp 2.5.0, generate.c: key SUITE MKI_OCTETS KEY_SALT, then rtp|rtcp PLAIN PROTECTED\n");
    else
        printf("# libsrtp 2.5.0, generate.c: flow NAME SUITE, key KEY_SALT twice, then rtp KEY PLAIN PROTECTED\n");
    for (at = 0; at < SUITES; at++)
        for (mki_len = 0; mki_len <= 4; mki_len++)
            if (!all && mki_len == 0)
                flows(suites + at);
            else if (all && (mki_len == 0 || mki_len == 1 || mki_len == 4))
                packets(suites + at, mki_len);
    return 0;
}
