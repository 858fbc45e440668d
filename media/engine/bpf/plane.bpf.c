// What Tollgate has the kernel do with packets to its media ports: which socket gets them, or where they
// go without any.
//
//   xdp        a driver's queue  ->  AF_XDP socket of the worker that has both the queue and the port
//   sk_lookup  a local UDP port  ->  the socket of the worker that has the port
//   flow.h     a driver's queue, or an interface  ->  the far side of the other leg
//
// Everything else passes untouched, and so does all that these programs do not understand: fragments,
// IP options, extension headers, IPv4 headers with a wrong checksum, a port of a worker that is not at
// this queue. The stack takes it, and `sk_lookup` after it.
//
// Built by `cargo xtask bpf`; the object is committed beside this file.

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ADDRESSES_MAX 64
#define PORTS (1 << 16)
#define WORKERS_MAX 128
#define QUEUES_MAX 1024
// A frame of 2048 octets, less what XDP keeps in front of a packet.
#define FRAME_MAX (2048 - 256)

// An address of ours; IPv4 as ::ffff:a.b.c.d.
struct address {
	__u8 octets[16];
};

// Local address -> its index. Of a wildcard's ports, all addresses that it stands for have its index, or
// one of their own and its ports as well: `::` and `::ffff:0.0.0.0` stand for all of a family.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ADDRESSES_MAX);
	__type(key, struct address);
	__type(value, __u32);
} addresses SEC(".maps");

// The workers that have eight ports beside each other, from 1 on; 0: nobody. An element takes eight octets
// at least, so that one for each port would be eight times the memory.
struct owners {
	__u8 workers[8];
};

// (Index of an address << 16 | port) / 8 -> who has the ports.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ADDRESSES_MAX * PORTS / 8);
	__type(key, __u32);
	__type(value, struct owners);
} ports SEC(".maps");

// Worker -> the UDP socket that has its ports.
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, WORKERS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct queue {
	__u32 interface;
	__u32 number;
};

struct place {
	__u32 socket;	// in `xsks`
	__u32 worker;	// from 1 on
};

// A queue of an interface -> the AF_XDP socket there, and whose it is.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, QUEUES_MAX);
	__type(key, struct queue);
	__type(value, struct place);
} queues SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

// Worker -> packets to its ports that came in at a queue where it has no socket. One count for all CPUs:
// such packets are few, and a worker that reads it in between two packets allocates nothing.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WORKERS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} astray SEC(".maps");

static __always_inline void map_v4(struct address *to, __be32 ip)
{
	__builtin_memset(to, 0, 10);
	to->octets[10] = to->octets[11] = 0xff;
	__builtin_memcpy(&to->octets[12], &ip, 4);
}

static __always_inline __u32 owner_of(__u32 index, __u16 port)
{
	__u32 at = (index << 16 | port) >> 3;
	const struct owners *owners = bpf_map_lookup_elem(&ports, &at);
	return owners ? owners->workers[port & 7] : 0;
}

// The worker that has a port of this address, or else of all of its family; from 1 on, 0: nobody.
static __always_inline __u32 worker_of(const __u32 *local, const struct address *all, __u16 port)
{
	__u32 worker = local ? owner_of(*local, port) : 0;
	if (worker)
		return worker;
	const __u32 *index = bpf_map_lookup_elem(&addresses, all);
	return index ? owner_of(*index, port) : 0;
}

#include "flow.h"

SEC("sk_lookup")
int to_worker(struct bpf_sk_lookup *lookup)
{
	if (lookup->protocol != IPPROTO_UDP)
		return SK_PASS;
	struct address local = {}, all = {};
	if (lookup->family == 2 /* AF_INET */) {
		map_v4(&local, lookup->local_ip4);
		map_v4(&all, 0);
	} else {
		__u32 words[4] = {lookup->local_ip6[0], lookup->local_ip6[1],
				  lookup->local_ip6[2], lookup->local_ip6[3]};
		__builtin_memcpy(&local, words, 16);
	}
	const __u32 *index = bpf_map_lookup_elem(&addresses, &local);
	__u32 worker = worker_of(index, &all, lookup->local_port);
	if (!worker)
		return SK_PASS;
	worker -= 1;
	struct bpf_sock *socket = bpf_map_lookup_elem(&sockets, &worker);
	if (!socket)
		return SK_PASS;
	// A socket that a program before this one has chosen stays: who had the port first keeps it.
	bpf_sk_assign(lookup, socket, 0);
	bpf_sk_release(socket);
	return SK_PASS;
}

struct vlan_header {
	__be16 tag;
	__be16 type;
};

// Whether an IPv4 header without options is what was sent: the stack drops others and counts them, and
// nobody who forwards may do without that look (RFC 1812, 5.2.2).
static __always_inline bool is_sound(const struct iphdr *ip)
{
	const __u32 *words = (const void *)ip;
	__u64 sum = (__u64)words[0] + words[1] + words[2] + words[3] + words[4];
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return folded(sum) == 0xffff;
}

// Finds the datagram in a frame; `index` is none where it is not for us. Others' packets pass through a
// host, too: to a wildcard's ports they are not.
static __always_inline void addressed_to(void *data, void *end, struct datagram *found)
{
	found->index = 0;
	found->is_tagged = false;
	struct ethhdr *eth = data;
	if ((void *)(eth + 1) > end)
		return;
	__be16 type = eth->h_proto;
	void *at = eth + 1;
	if (type == bpf_htons(ETH_P_8021Q)) {
		struct vlan_header *vlan = at;
		if ((void *)(vlan + 1) > end)
			return;
		type = vlan->type;
		at = vlan + 1;
		found->is_tagged = true;
	}
	struct address local;
	found->ip = at;
	found->is_v6 = type == bpf_htons(ETH_P_IPV6);
	if (type == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = at;
		if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl != 5 ||
		    ip->protocol != IPPROTO_UDP || ip->frag_off & bpf_htons(0x3fff) || !is_sound(ip))
			return;
		map_v4(&local, ip->daddr);
		at = ip + 1;
	} else if (found->is_v6) {
		struct ipv6hdr *ip = at;
		if ((void *)(ip + 1) > end || ip->version != 6 || ip->nexthdr != IPPROTO_UDP)
			return;
		__builtin_memcpy(&local, &ip->daddr, 16);
		at = ip + 1;
	} else {
		return;
	}
	found->udp = at;
	if ((void *)(found->udp + 1) > end)
		return;
	found->port = bpf_ntohs(found->udp->dest);
	found->index = bpf_map_lookup_elem(&addresses, &local);
}

SEC("xdp")
int to_queue(struct xdp_md *frame)
{
	struct datagram datagram;
	addressed_to((void *)(long)frame->data, (void *)(long)frame->data_end, &datagram);
	if (!datagram.index)
		return XDP_PASS;
	int forwarded = forward_frame(frame, &datagram);
	if (forwarded)
		return forwarded;
	void *data = (void *)(long)frame->data, *end = (void *)(long)frame->data_end;
	struct address all = {};
	if (!datagram.is_v6)
		map_v4(&all, 0);
	__u32 worker = worker_of(datagram.index, &all, datagram.port);
	// Pointers may be compared without CAP_PERFMON, and not subtracted.
	if (!worker || data + FRAME_MAX < end)
		return XDP_PASS;
	struct queue queue = {frame->ingress_ifindex, frame->rx_queue_index};
	const struct place *place = bpf_map_lookup_elem(&queues, &queue);
	if (!place || place->worker != worker) {
		worker -= 1;
		__u64 *count = bpf_map_lookup_elem(&astray, &worker);
		if (count)
			__sync_fetch_and_add(count, 1);
		return XDP_PASS;
	}
	return bpf_redirect_map(&xsks, place->socket, XDP_PASS);
}

// Flows alone: for workers that have their packets from sockets.
SEC("xdp")
int forward_xdp(struct xdp_md *frame)
{
	struct datagram datagram;
	addressed_to((void *)(long)frame->data, (void *)(long)frame->data_end, &datagram);
	int forwarded = datagram.index ? forward_frame(frame, &datagram) : 0;
	return forwarded ? forwarded : XDP_PASS;
}

// Flows on interfaces whose driver knows no XDP, and on those of VLANs.
SEC("classifier")
int forward_tc(struct __sk_buff *packet)
{
	bool is_ip = packet->protocol == bpf_htons(ETH_P_IP) || packet->protocol == bpf_htons(ETH_P_IPV6);
	if (!is_ip || packet->vlan_present || packet->gso_size)
		return TC_ACT_UNSPEC;
	// Drivers put headers in front, but not always all that is looked at here.
	__u32 least = HEADERS_MAX + RTP_FIXED;
	if ((void *)(long)packet->data + least > (void *)(long)packet->data_end)
		bpf_skb_pull_data(packet, packet->len < least ? packet->len : least);
	void *end = (void *)(long)packet->data_end;
	struct ethhdr *eth = (void *)(long)packet->data;
	struct datagram at;
	addressed_to(eth, end, &at);
	struct flow *flow = at.index ? flow_of(&at, HOOK_TC, packet->ifindex) : 0;
	if (!flow || (void *)(at.udp + 1) > end || at.is_tagged)
		return TC_ACT_UNSPEC;
	__u32 headers = at.is_v6 ? ETH_HLEN + 40 : ETH_HLEN + 20;
	struct change change;
	bool whole = headers + bpf_ntohs(at.udp->len) <= packet->len;
	if (!passes(flow, &at, end, whole, &change))
		return TC_ACT_UNSPEC;
	// The kernel knows who has still to make the checksum, and of what.
	__u32 check = headers + __builtin_offsetof(struct udphdr, check);
	bpf_l4_csum_replace(packet, check, 0, flow->addresses, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
	bpf_l4_csum_replace(packet, check, 0, folded(flow->ports + change.sum), BPF_F_MARK_MANGLED_0);
	end = (void *)(long)packet->data_end;
	eth = (void *)(long)packet->data;
	at.ip = eth + 1;
	at.udp = udp_of(eth, at.is_v6);
	if (!rewrite(flow, eth, &at, end, &change))
		return TC_ACT_SHOT;
	return bpf_redirect(flow->interface, 0);
}

char _license[] SEC("license") = "Dual MIT/GPL";
