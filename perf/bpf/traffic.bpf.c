// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The far sides of all calls, in the kernel: `generate` makes their packets, `take` and `take_at_tc` receive
// what the relay sends and time it, `discard` stands for a relay that costs nothing.
//
// `generate` runs as a test run with live frames (BPF_F_TEST_XDP_LIVE_FRAMES): each frame is a page, as a
// network card's driver would hand it over, and goes to the relay's end of a veth pair. Built by
// clang -O2 -g -target bpf (README.md).

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// Both directions of 13,000 calls: as many as there are ports for.
#define FLOWS_MAX 26000
// Packets of one stream: a bit over five minutes of speech.
#define TICKS_MAX 16384
// Batches whose time of sending is known.
#define STAMPS 65536
#define RTP_LEN 172
#define SRTP_LEN 182
// Under AES-GCM.
#define GCM_LEN 188
#define HEAD_LEN 42
// Processors that make packets at once: each for flows of its own, by its number.
#define SENDERS 2
// Counted where latency is noted: 32 steps in each doubling of nanoseconds, up to 2 s.
#define STEPS 32
#define BUCKETS 1024

// What one processor is to send.
struct plan {
	__u32 flows;
	__u32 batch;
	// Nanoseconds from one batch to the next; 0: at once.
	__u64 slot_ns;
	__u32 ifindex;
	// What comes back of these ticks counts.
	__u32 from_tick;
	__u32 to_tick;
	// Of this tick the first packets are kept whole.
	__u32 sample_tick;
	// The place of its first flow among all.
	__u32 first;
	// Whose stamps its batches have: by number, as any processor may send where only one does.
	__u32 stamps;
};

struct progress {
	__u64 batch;
	__u64 due_ns;
	__u64 late;
	__u32 at;
	__u32 tick;
	__u32 in_batch;
	__u32 pad;
};

// One direction of one call, in the order of sending.
struct flow {
	// Ethernet, IP and UDP.
	__u64 head[5];
	__u16 head_end;
	__u16 side;
	// Sum of the UDP pseudo header and header.
	__u32 sum;
};

struct payload {
	__u64 octets[24];
	__u32 len;
	__u32 sum;
};

// What is awaited at a port of the far sides.
struct awaited {
	// The place of the flow among the flows, plus one; 0: none.
	__u32 flow;
	// The relay's port it has to come from, in network order.
	__u16 from;
	__u16 pad;
};

struct sample {
	__u32 flow;
	__u32 len;
	__u64 octets[24];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SENDERS);
	__type(key, __u32);
	__type(value, struct plan);
} plan SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SENDERS);
	__type(key, __u32);
	__type(value, struct progress);
} progress SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOWS_MAX);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * TICKS_MAX);
	__type(key, __u32);
	__type(value, struct payload);
} payloads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SENDERS * STAMPS);
	__type(key, __u32);
	__type(value, __u64);
} stamps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct awaited);
} far_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BUCKETS);
	__type(key, __u32);
	__type(value, __u64);
} latency SEC(".maps");

enum { COUNT_ALL, COUNT_IN_WINDOW, COUNT_WRONG_PORT, COUNT_OTHER, COUNTS };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

#define SAMPLES 64

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SAMPLES);
	__type(key, __u32);
	__type(value, struct sample);
} samples SEC(".maps");

static long is_due(__u32 turn, void *due_ns)
{
	return bpf_ktime_get_ns() >= *(__u64 *)due_ns;
}

static __always_inline __u32 stamp_of(__u64 batch, struct plan *p)
{
	return (batch & (STAMPS - 1)) + p->stamps % SENDERS * STAMPS;
}

static __always_inline void begin_batch(struct plan *p, struct progress *at)
{
	__u64 now = bpf_ktime_get_ns();

	if (p->slot_ns) {
		if (at->due_ns == 0)
			at->due_ns = now;
		__u64 due_ns = at->due_ns;

		if (now > due_ns + p->slot_ns) {
			// What was missed is left out: a burst would be more than any network sends.
			at->late += (now - due_ns) / p->slot_ns;
			at->due_ns = now;
		} else
			bpf_loop(1 << 23, is_due, &due_ns, 0);
		at->due_ns += p->slot_ns;
		now = bpf_ktime_get_ns();
	}
	__u32 slot = stamp_of(at->batch, p);
	__u64 *stamp = bpf_map_lookup_elem(&stamps, &slot);
	if (stamp)
		*stamp = now;
}

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	__u32 sender = bpf_get_smp_processor_id() % SENDERS;
	struct plan *p = bpf_map_lookup_elem(&plan, &sender);
	struct progress *at = bpf_map_lookup_elem(&progress, &sender);

	if (!p || !at)
		return XDP_ABORTED;
	if (at->in_batch == 0)
		begin_batch(p, at);
	__u32 place = p->first + at->at, tick = at->tick;

	if (++at->in_batch >= p->batch) {
		at->in_batch = 0;
		at->batch++;
	}
	if (++at->at >= p->flows) {
		at->at = 0;
		at->tick++;
	}

	struct flow *f = bpf_map_lookup_elem(&flows, &place);
	if (!f)
		return XDP_ABORTED;
	__u32 which = (f->side ? TICKS_MAX : 0) + (tick & (TICKS_MAX - 1));
	struct payload *what = bpf_map_lookup_elem(&payloads, &which);
	if (!what)
		return XDP_ABORTED;
	__u32 len = what->len;

	// Frames begin with room for the longest.
	__u64 given = (long)ctx->data_end - (long)ctx->data;
	// Pointers may be taken from each other, and from nothing else.
	asm volatile("" : "+r"(given));
	int excess = (int)given - HEAD_LEN - (int)len;
	if (excess && bpf_xdp_adjust_tail(ctx, -excess))
		return XDP_ABORTED;

	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	if (data + HEAD_LEN + RTP_LEN > end)
		return XDP_ABORTED;
	__u64 *head = data, *body = data + HEAD_LEN;
#pragma unroll
	for (int i = 0; i < 5; i++)
		head[i] = f->head[i];
	__u16 sum = fold(f->sum + what->sum);
	*(__u16 *)(data + 40) = sum ? sum : 0xffff;
#pragma unroll
	for (int i = 0; i < 21; i++)
		body[i] = what->octets[i];
	if (len == RTP_LEN) {
		*(__u32 *)(data + HEAD_LEN + 168) = (__u32)what->octets[21];
	} else if (len == SRTP_LEN) {
		if (data + HEAD_LEN + SRTP_LEN > end)
			return XDP_ABORTED;
		body[21] = what->octets[21];
		*(__u32 *)(data + HEAD_LEN + 176) = (__u32)what->octets[22];
		*(__u16 *)(data + HEAD_LEN + 180) = (__u16)(what->octets[22] >> 32);
	} else {
		if (data + HEAD_LEN + GCM_LEN > end)
			return XDP_ABORTED;
		body[21] = what->octets[21];
		body[22] = what->octets[22];
		*(__u32 *)(data + HEAD_LEN + 184) = (__u32)what->octets[23];
	}
	return bpf_redirect(p->ifindex, 0);
}

static __always_inline void count(__u32 what)
{
	__u64 *value = bpf_map_lookup_elem(&counts, &what);
	if (value)
		++*value;
}

static __always_inline __u32 bucket_of(__u64 ns)
{
	if (ns < STEPS)
		return ns;
	__u32 octave = 0;
	__u64 rest = ns;
#pragma unroll
	for (int bits = 32; bits; bits >>= 1)
		if (rest >> bits) {
			rest >>= bits;
			octave += bits;
		}
	__u32 bucket = (octave - 4) * STEPS + ((ns >> (octave - 5)) & (STEPS - 1));
	return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

enum verdict { OF_OTHERS, OURS, TO_BE_KEPT };

// Counts and times what is of the relay; says which packet it is where it is to be kept whole.
static __always_inline enum verdict look(void *data, void *end, __u32 *flow_out, __u32 *place_out)
{
	if (data + HEAD_LEN + 12 > end)
		return OF_OTHERS;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct udphdr *udp = data + sizeof(*eth) + sizeof(*ip);
	__u8 *rtp = data + HEAD_LEN;

	if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->protocol != 17 || ip->ihl != 5)
		return OF_OTHERS;
	__u32 port = bpf_ntohs(udp->dest), sender = 0;
	struct awaited *flow = bpf_map_lookup_elem(&far_ports, &port);
	struct plan *p = bpf_map_lookup_elem(&plan, &sender);
	if (!flow || !p || !flow->flow)
		return OF_OTHERS;
	// RTCP of the relay's own.
	if ((rtp[1] & 0x7f) != 8) {
		count(COUNT_OTHER);
		return OURS;
	}
	if (udp->source != flow->from)
		count(COUNT_WRONG_PORT);
	count(COUNT_ALL);
	__u32 tick = rtp[2] << 8 | rtp[3];
	if (tick < p->from_tick || tick >= p->to_tick)
		return OURS;
	count(COUNT_IN_WINDOW);
	__u32 place = flow->flow - 1;
	if (place >= p->first + p->flows || place < p->first) {
		sender = 1;
		p = bpf_map_lookup_elem(&plan, &sender);
		if (!p)
			return OURS;
	}
	__u64 batch = ((__u64)tick * p->flows + place - p->first) / (p->batch ? p->batch : 1);
	__u32 slot = stamp_of(batch, p);
	__u64 *stamp = bpf_map_lookup_elem(&stamps, &slot);
	if (stamp) {
		__u32 bucket = bucket_of(bpf_ktime_get_ns() - *stamp);
		__u64 *value = bpf_map_lookup_elem(&latency, &bucket);
		if (value)
			++*value;
	}
	*flow_out = flow->flow;
	*place_out = place;
	return tick == p->sample_tick && place < SAMPLES ? TO_BE_KEPT : OURS;
}

static __always_inline struct sample *room_for(__u32 flow, __u32 place, __u32 len)
{
	struct sample *kept = bpf_map_lookup_elem(&samples, &place);
	if (!kept || (len != RTP_LEN && len != SRTP_LEN && len != GCM_LEN))
		return 0;
	kept->flow = flow;
	kept->len = len;
	return kept;
}

// Ends frames in the driver, as a network card that sends them does: no stack is behind it.
SEC("xdp")
int take(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 given = (long)end - (long)data;
	asm volatile("" : "+r"(given));
	__u32 flow = 0, place = 0, len = given - HEAD_LEN;
	enum verdict verdict = look(data, end, &flow, &place);

	if (verdict == OF_OTHERS)
		return XDP_PASS;
	if (verdict == TO_BE_KEPT) {
		struct sample *kept = room_for(flow, place, len);
		if (kept && len == RTP_LEN)
			bpf_xdp_load_bytes(ctx, HEAD_LEN, kept->octets, RTP_LEN);
		else if (kept && len == SRTP_LEN)
			bpf_xdp_load_bytes(ctx, HEAD_LEN, kept->octets, SRTP_LEN);
		else if (kept)
			bpf_xdp_load_bytes(ctx, HEAD_LEN, kept->octets, GCM_LEN);
	}
	return XDP_DROP;
}

// The same behind the driver, where all is socket buffers.
SEC("classifier")
int take_at_tc(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 flow = 0, place = 0, len = skb->len - HEAD_LEN;

	if (data + HEAD_LEN + 12 > end) {
		bpf_skb_pull_data(skb, HEAD_LEN + 12);
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
	}
	enum verdict verdict = look(data, end, &flow, &place);

	if (verdict == OF_OTHERS)
		return TC_ACT_OK;
	if (verdict == TO_BE_KEPT) {
		struct sample *kept = room_for(flow, place, len);
		if (kept && len == RTP_LEN)
			bpf_skb_load_bytes(skb, HEAD_LEN, kept->octets, RTP_LEN);
		else if (kept && len == SRTP_LEN)
			bpf_skb_load_bytes(skb, HEAD_LEN, kept->octets, SRTP_LEN);
		else if (kept)
			bpf_skb_load_bytes(skb, HEAD_LEN, kept->octets, GCM_LEN);
	}
	return TC_ACT_SHOT;
}

SEC("xdp")
int discard(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);

	if (data + HEAD_LEN > end)
		return XDP_PASS;
	return eth->h_proto == bpf_htons(ETH_P_IP) && ip->protocol == 17 ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
