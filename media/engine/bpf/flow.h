// Flows that are forwarded here: packets of one source that want other addresses and nothing else.
//
//   our port -> slot -> flow: is it exactly of the flow? -> written down, rewritten, sent
//
// What is not exactly of the flow goes up, and so does all for which the log has no room: a flow that
// nobody reads any more forwards nothing after a second. User space reads `flow.log` by memory that both
// share, so that what is measured is measured of every packet.
#pragma once

#define FLOWS_MAX 16384
#define LOG 64
// Processors that may be at one flow at once, at most, before the log is overwritten.
#define LOG_SPARE 8
#define PACKET_MAX 1500
#define COMES_HERE 0xff
#define RTP_FIXED 12
#define CHUNK 64
#define HEADERS_MAX (ETH_HLEN + 40 + 8)

// One packet that went by.
struct passed {
	// Low half: when it came, in 256 ns; high half: its RTP timestamp.
	__u64 when;
	// From the lowest bit on: sequence number, octets of the payload, octets (16 bits each), payload
	// type, which round of the log this is (8 bits each). Written last.
	__u64 what;
};

// Which program a flow is for.
#define HOOK_XDP 1
#define HOOK_TC 2

struct flow {
	__u32 on;	// for which program; 0: for none, and what follows may change
	// Whose packets they are.
	__be32 ssrc;
	__u8 from[16];	// IPv4 as ::ffff:a.b.c.d
	__be16 from_port;
	__u16 is_v6;
	__u32 came_by;	// the interface that leads back to where they come from
	// Where they go.
	__u32 interface;
	__u16 mtu;	// longest IP packet
	__u16 shift;	// added to sequence numbers
	__u16 ip_sum;	// of the IPv4 header without its length
	// Of the pseudo headers without the length, as they come and as they go.
	__u16 pseudo_came;
	__u16 pseudo_goes;
	// What is to be added to a checksum for the addresses, and for the ports.
	__u16 addresses;
	__u16 ports;
	__u8 headers[HEADERS_MAX];	// Ethernet and IP; what is behind is not looked at
	__u8 payload_types[128];
	__be16 ports_go[2];
	__u8 back;	// the driver itself sends it back to where it came from
	__u32 written __attribute__((aligned(64)));	// by programs
	__u32 read __attribute__((aligned(64)));	// by user space
	struct passed log[LOG] __attribute__((aligned(64)));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOWS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");

// The slots of the flows that come in at four even ports beside each other, from 1 on; 0: none.
struct slots {
	__u16 of[4];
};

// (Index of an address << 16 | port) / 8 -> flows.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ADDRESSES_MAX * PORTS / 8);
	__type(key, __u32);
	__type(value, struct slots);
} slots SEC(".maps");

struct rtp {
	__u8 first;
	__u8 second;
	__be16 sequence;
	__be32 timestamp;
	__be32 ssrc;
};

// A datagram to one of our addresses.
struct datagram {
	void *ip;
	struct udphdr *udp;
	__u32 is_v6;
	__u32 is_tagged;	// it is of a VLAN
	__u32 port;
	const __u32 *index;	// of the address
};

// What is to be changed in a packet that passes.
struct change {
	__u16 sum;	// added to the checksum for what changes in RTP
	__u8 payload_type;
};

static __always_inline __u16 folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

// The flow that comes in at a port and by an interface, if there is one for this program. What comes by
// another interface is for the stack to judge, which may be told to let no such packet in.
static __always_inline struct flow *flow_of(const struct datagram *at, __u32 hook, __u32 came_by)
{
	__u32 place = (*at->index << 16 | at->port) >> 3;
	const struct slots *of = bpf_map_lookup_elem(&slots, &place);
	if (!of || at->port & 1)
		return 0;
	__u32 slot = of->of[at->port >> 1 & 3];
	if (!slot--)
		return 0;
	struct flow *flow = bpf_map_lookup_elem(&flows, &slot);
	return flow && flow->on == hook && flow->came_by == came_by ? flow : 0;
}

// Where UDP begins. What is not known beforehand may be added to a pointer with CAP_PERFMON only, so that
// the compiler must not make one sum of both.
static __always_inline struct udphdr *udp_of(struct ethhdr *eth, __u32 is_v6)
{
	void *udp = (void *)(eth + 1) + 20;
	if (is_v6) {
		asm volatile("" : "+r"(eth));
		udp = (void *)(eth + 1) + 40;
	}
	return udp;
}

// Whether a datagram is one of the flow and whole, and what has to be changed in it. Then it is written
// down: it must be sent. `whole` says that the frame has it all.
static __always_inline bool passes(struct flow *flow, const struct datagram *at, void *end, bool whole,
				   struct change *change)
{
	struct udphdr *udp = at->udp;
	struct rtp *rtp = (void *)(udp + 1);
	if (!whole || (void *)(rtp + 1) > end || at->is_v6 != flow->is_v6)
		return false;
	__u32 octets = bpf_ntohs(udp->len);
	__u32 length;
	if (at->is_v6) {
		struct ipv6hdr *ip = at->ip;
		__u32 from[4];
		__builtin_memcpy(from, flow->from, 16);
		if (ip->saddr.in6_u.u6_addr32[0] != from[0] || ip->saddr.in6_u.u6_addr32[1] != from[1] ||
		    ip->saddr.in6_u.u6_addr32[2] != from[2] || ip->saddr.in6_u.u6_addr32[3] != from[3])
			return false;
		if (ip->payload_len != udp->len || !udp->check)
			return false;
		length = octets + 40;
	} else {
		struct iphdr *ip = at->ip;
		__u32 from;
		__builtin_memcpy(&from, &flow->from[12], 4);
		length = octets + 20;
		if (ip->saddr != from || bpf_ntohs(ip->tot_len) != length)
			return false;
	}
	if (udp->source != flow->from_port || length > flow->mtu)
		return false;
	octets -= 8;
	if (octets < RTP_FIXED || octets > PACKET_MAX)
		return false;
	__u8 payload_type = rtp->second & 0x7f;
	__u8 becomes = flow->payload_types[payload_type];
	if ((rtp->first & 0xc0) != 0x80 || becomes == COMES_HERE || rtp->ssrc != flow->ssrc)
		return false;
	__u32 header = RTP_FIXED + 4 * (rtp->first & 0x0f);
	if (rtp->first & 0x10) {
		// Behind sources that contribute it is not looked for: few have both.
		__be16 *extension = (void *)(rtp + 1);
		if (header != RTP_FIXED || (void *)(extension + 2) > end)
			return false;
		header += 4 + 4 * bpf_ntohs(extension[1]);
	}
	if (header > octets || flow->written - *(volatile __u32 *)&flow->read >= LOG - LOG_SPARE)
		return false;

	__u16 sequence = bpf_ntohs(rtp->sequence);
	__u32 number = __sync_fetch_and_add(&flow->written, 1);
	struct passed *passed = &flow->log[number % LOG];
	passed->when = (bpf_ktime_get_ns() >> 8 & 0xffffffff) | (__u64)bpf_ntohl(rtp->timestamp) << 32;
	__u64 what = sequence | (__u64)(octets - header) << 16 | (__u64)octets << 32 |
		     (__u64)payload_type << 48 | (__u64)(number / LOG + 1 & 0xff) << 56;
	__sync_lock_test_and_set(&passed->what, what);

	change->payload_type = becomes;
	__be16 moved = bpf_htons(sequence + flow->shift);
	__u16 before = bpf_htons(payload_type), after = bpf_htons(becomes);
	change->sum = folded(moved + (__u16)~rtp->sequence + after + (__u16)~before);
	return true;
}

// Gives a packet its new headers, but for the checksum of UDP.
static __always_inline bool rewrite(struct flow *flow, struct ethhdr *eth, const struct datagram *at,
				    void *end, const struct change *change)
{
	struct udphdr *udp = at->udp;
	struct rtp *rtp = (void *)(udp + 1);
	if ((void *)(eth + 1) > end || (void *)(rtp + 1) > end)
		return false;
	__builtin_memcpy(eth, flow->headers, ETH_HLEN);
	if (at->is_v6) {
		struct ipv6hdr *ip = at->ip;
		__builtin_memcpy(ip, &flow->headers[ETH_HLEN], 4);
		__builtin_memcpy((void *)ip + 6, &flow->headers[ETH_HLEN + 6], 34);
	} else {
		struct iphdr *ip = at->ip;
		__builtin_memcpy(ip, &flow->headers[ETH_HLEN], 2);
		__builtin_memcpy((void *)ip + 4, &flow->headers[ETH_HLEN + 4], 16);
		ip->check = ~folded(flow->ip_sum + ip->tot_len);
	}
	udp->source = flow->ports_go[0];
	udp->dest = flow->ports_go[1];
	rtp->second = (rtp->second & 0x80) | (change->payload_type & 0x7f);
	rtp->sequence = bpf_htons(bpf_ntohs(rtp->sequence) + flow->shift);
	return true;
}

// The sum over a datagram, which lies so far into the frame. By copies: what is not known beforehand may
// be added to a pointer with CAP_PERFMON only.
static __noinline __u32 sum_of(struct xdp_md *frame, __u32 from, __u32 octets)
{
	__s64 sum = 0;
	for (__u32 n = 0; n < (PACKET_MAX + 8) / CHUNK + 1; n++) {
		__u64 chunk[CHUNK / 8] = {};
		__u32 some = octets < CHUNK ? octets : CHUNK;
		if (!some || bpf_xdp_load_bytes(frame, from, chunk, some))
			break;
		sum = bpf_csum_diff(0, 0, (void *)chunk, CHUNK, sum);
		from += some;
		octets -= some;
	}
	return folded(sum);
}

// Forwards a frame, if it is one of a flow; 0 if not: nothing has been done to it then.
static __always_inline int forward_frame(struct xdp_md *frame, const struct datagram *at)
{
	void *end = (void *)(long)frame->data_end;
	struct ethhdr *eth = (void *)(long)frame->data;
	struct flow *flow = flow_of(at, HOOK_XDP, frame->ingress_ifindex);
	struct change change;
	// Behind a tag of a VLAN there is no room for what is written here.
	if (!flow || at->is_tagged)
		return 0;
	struct udphdr *udp = at->udp;
	if ((void *)(udp + 1) > end)
		return 0;
	__u64 length = bpf_ntohs(udp->len);
	__u64 headers = at->is_v6 ? ETH_HLEN + 40 : ETH_HLEN + 20;
	__be16 came = udp->check;
	if (!passes(flow, at, end, headers + length <= bpf_xdp_get_buff_len(frame), &change) ||
	    !rewrite(flow, eth, at, end, &change))
		return 0;
	if (came) {
		__u16 sum;
		if (came == folded(flow->pseudo_came + udp->len)) {
			// From a socket of this host, whose checksum nobody has made yet.
			udp->check = 0;
			__be16 in_pseudo_header = udp->len;
			sum = folded(flow->pseudo_goes + in_pseudo_header);
			sum = folded(sum + sum_of(frame, headers, length));
		} else {
			sum = folded((__u16)~came + flow->addresses + flow->ports + change.sum);
		}
		eth = (void *)(long)frame->data;
		end = (void *)(long)frame->data_end;
		udp = udp_of(eth, at->is_v6);
		if ((void *)(udp + 1) > end)
			return XDP_DROP;
		udp->check = sum == 0xffff ? sum : ~sum;
	}
	if (flow->back && flow->interface == frame->ingress_ifindex)
		return XDP_TX;
	return bpf_redirect(flow->interface, 0);
}
