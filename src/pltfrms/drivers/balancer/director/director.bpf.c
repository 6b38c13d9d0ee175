// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * The director: it sends every packet to a service address to one instance, without state.
 *
 *     client --> edge ==== outer IPv6 packet ====> node --> instance
 *                  |                                 |
 *                  outside, inside                   inside, else instance_out
 *                  hash the flow, take its row       the instance knows the flow: decapsulate
 *                  of the service's table,           else: send it to the next of the row,
 *                  encapsulate to its first          and the last of them takes it
 *
 * An instance that is a client itself meets the director at instance_in, on its own node. The
 * instances answer clients directly; answers never pass here.
 *
 * All machines have the same tables and compute the same hash, so it does not matter which of
 * them a packet meets, nor whether the next one meets another. A row has CHANCES candidates.
 * The first gets new flows. When that changes, a TCP flow lives on where it was: who has no
 * socket for it passes it on.
 *
 * The kernel stays in charge. A packet that we encapsulate goes on to its routing, like every
 * packet that we leave alone; with no heartbeat, no candidate, or no idea what a packet is, we
 * leave it alone, and the kernel's own ECMP routes bring it to some instance.
 *
 * model.py says the same in Python; tests compare the two, packet by packet. The files of this
 * program may be used under the GPL, too: the kernel lends bpf_tcp_check_syncookie() only to
 * programs that say so.
 */
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>

#include "maps.h"
#include "packet.h"

char terms[] SEC("license") = "GPL v2";

#define LABEL 0xd1e00	  /* flow label of the outer header; its last 6 bits: */
#define LABEL_MASK 0xfffff
#define HOPS_MASK 0x7	  /* hops so far in this datacenter, ... */
#define MOVES_MASK 0x38	  /* ... and from one datacenter to another */
#define ONE_MOVE 0x8
#define MAX_HOPS 7
#define REDIRECTED 0xd1e0 /* mark from instance_out to instance_in of the same device */
#define ENCAPSULATED 0xd1e1 /* mark for the packet filter, which judges the packet inside */
#define HOP_LIMIT 64
#define MAX_PAYLOAD 0xffff
#define WINDOW_MAX (1U << 28)	/* bytes: TCP allows four times that, nobody uses it */
#define ACK_SLACK (1U << 20)	/* bytes: more than one send, and than what is overtaken */
#define ETHERNET ETH_HLEN /* bytes before the IP header, ... */
#define NO_LINK_HEADER 0  /* ... also on devices without one, such as WireGuard's */

INLINE void count(enum counter which)
{
	__u64 *counter = AT(counters, which);

	if (counter)
		*counter += 1;
}

INLINE int leave(enum counter why)
{
	count(why);
	return TC_ACT_OK;
}

INLINE int drop(enum counter why)
{
	count(why);
	return TC_ACT_SHOT;
}

/* Super packets of offloads count as what they become on a wire. */
INLINE __u64 packets_in(const struct __sk_buff *skb)
{
	return skb->gso_segs ? skb->gso_segs : 1;
}

INLINE bool is_infrastructure(const struct address *address)
{
	const struct settings *our = AT(settings, 0);

	return our && (address->half[0] & our->infrastructure_mask) == our->infrastructure;
}

INLINE bool is_tunnel(__u8 protocol)
{
	return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6;
}

/* ---- tables ------------------------------------------------------------------------------ */

INLINE const struct table *table_of(const struct service *service)
{
	void *map = AT(tables, service->table);
	const __u32 only = 0;

	return map ? bpf_map_lookup_elem(map, &only) : 0;
}

/* Where an instance is; null for nobody. */
INLINE const struct address *address_of(__u32 id)
{
	const struct address *address = AT(instances, id);

	return address && (address->half[0] | address->half[1]) ? address : 0;
}

INLINE bool is_below(const struct address *a, const struct address *b)
{
	for (int i = 0; i < 4; i++)
		if (a->word[i] != b->word[i])
			return HOST32(a->word[i]) < HOST32(b->word[i]);
	return false;
}

/* Whether two instances are in one datacenter. */
INLINE bool is_near(const struct address *a, const struct address *b)
{
	return a->half[0] == b->half[0];
}

/*
 * Who is to be asked after `me`, which was reached after `hops` hops: the one of the row with
 * the next higher address, in a circle; 0 if everybody has been asked. Tables of machines may
 * differ for a moment, above all in who is the first of a row. They agree on the order of
 * addresses, so nobody who is in all of these rows is left out; some are asked twice.
 *
 * With `near` only those of this datacenter count. Without it only the guests, one of each
 * other datacenter, which then asks its own; `hops` are the moves between datacenters.
 */
INLINE __u32 next_candidate(const struct row *row, const struct address *me, __u32 hops,
			    bool near)
{
	const struct address *lowest = 0, *above = 0;
	__u32 lowest_id = 0, above_id = 0, others = 0;

	UNROLL
	for (int i = 0; i < CHANCES; i++) {
		__u32 id = row->candidate[i];
		const struct address *address = address_of(id);

		if (!address || same(address, me) || is_near(address, me) != near)
			continue;
		others++;
		if (!lowest || is_below(address, lowest)) {
			lowest = address;
			lowest_id = id;
		}
		if (is_below(me, address) && (!above || is_below(address, above))) {
			above = address;
			above_id = id;
		}
	}
	if (!others || hops >= (near ? others + 2 : others) || hops >= MAX_HOPS)
		return 0;
	return above_id ? above_id : lowest_id;
}

/* ---- towards an instance ----------------------------------------------------------------- */

/* The coarse clock is behind the driver's by up to a tick, so a beat may lie in its future. */
INLINE bool is_stale(const struct settings *our)
{
	const __u64 *beat = AT(heartbeat, 0);

	return !beat || !*beat ||
	       (__s64)(bpf_ktime_get_coarse_ns() - *beat) > (__s64)our->stale_after_ns;
}

INLINE bool is_new_flow(const struct __sk_buff *skb, const struct packet *packet,
			const struct flow *flow)
{
	struct tcphdr tcp;

	return packet->protocol == IPPROTO_TCP && flow->ports &&
	       load(skb, packet->payload, &tcp, sizeof(tcp)) && tcp.syn && !tcp.ack;
}

INLINE void count_sent(struct service_stats *stats, __u32 id, __u64 packets, __u32 bytes,
		       bool is_new)
{
	struct instance_stats *instance = AT(instance_stats, id);

	if (stats) {
		stats->packets += packets;
		stats->bytes += bytes;
		stats->new_flows += is_new;
	}
	if (instance) {
		instance->packets += packets;
		instance->bytes += bytes;
	}
}

/* Make room for the outer header before the IP header, `bytes` from the packet's end. */
INLINE bool make_room(struct __sk_buff *skb, __u32 bytes)
{
	return bytes <= MAX_PAYLOAD &&
	       !bpf_skb_adjust_room(skb, sizeof(struct ip6), BPF_ADJ_ROOM_MAC,
				    BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV6);
}

/* Say in an Ethernet header what is in the frame; only IPv4 packets change into another kind. */
INLINE bool write_type(struct __sk_buff *skb, __be16 type)
{
	return !bpf_skb_store_bytes(skb, ETHERNET - sizeof(type), &type, sizeof(type), 0);
}

/* Fill that room. */
INLINE bool write_outer(struct __sk_buff *skb, __u32 link, bool v6, const struct ip6 *outer)
{
	return !bpf_skb_store_bytes(skb, link, outer, sizeof(*outer), BPF_F_RECOMPUTE_CSUM) &&
	       (!link || v6 || write_type(skb, NET16(ETH_P_IPV6)));
}

/*
 * Send a packet to a service, whose IP header is read, to the instance of its flow. Its time to
 * live stays as it is; the outer header has its own, and no marks of congestion, which is the
 * compatibility mode of RFC 6040.
 */
INLINE int send(struct __sk_buff *skb, __u32 link, struct packet *packet,
		const struct service *service)
{
	const struct settings *our = AT(settings, 0);
	const __u32 bytes = skb->len - link;
	const __u64 packets = packets_in(skb);
	struct service_stats *stats;
	const struct table *table;
	const struct address *to;
	struct ip6 outer;
	struct flow flow;
	__u32 hash, first;
	bool is_new;

	if (!our || is_stale(our))
		return leave(STALE);
	if (packet->hop_limit <= 1)
		return leave(TTL);
	switch (read_flow(skb, packet, &flow)) {
	case NOT_OURS:
		return TC_ACT_OK;
	case CUT_OFF:
		return leave(UNREADABLE);
	case FLOW:
		break;
	}
	if (is_tunnel(packet->protocol))
		return TC_ACT_OK; /* no service takes it, and the packet filter says so */
	hash = flow_hash(&flow, service->seed);
	table = table_of(service);
	if (!table)
		return leave(NO_TABLE);
	first = table->first[hash % ROWS];
	stats = AT(service_stats, service->table);
	to = address_of(first);
	if (!to) {
		if (stats)
			stats->no_instance += packets;
		return TC_ACT_OK;
	}
	outer = (struct ip6){
		.version_class_label = NET32(6U << 28 | LABEL),
		.payload_bytes = NET16(bytes),
		.next_header = packet->v6 ? IPPROTO_IPV6 : IPPROTO_IPIP,
		.hop_limit = HOP_LIMIT,
		.source = our->source,
		.destination = *to,
	};
	outer.source.word[3] = NET32(hash);
	is_new = is_new_flow(skb, packet, &flow);
	if (!make_room(skb, bytes))
		return leave(FAILED);
	if (!write_outer(skb, link, packet->v6, &outer))
		return drop(FAILED);
	skb->mark = ENCAPSULATED;
	count_sent(stats, first, packets, bytes, is_new);
	if (packet->fragment != WHOLE)
		count(FRAGMENT);
	if (flow.quoted)
		count(ICMP_ERROR);
	return TC_ACT_OK;
}

/* ---- at an instance ---------------------------------------------------------------------- */

/*
 * Whether an ACK returns a SYN cookie of this listener: then it opens a flow that has no
 * socket yet. The 40 bytes are an IPv6 header, or an IPv4 header and some of the TCP header.
 */
INLINE bool returns_cookie(const struct __sk_buff *skb, __u32 at, struct bpf_sock *listener,
			   const struct tcphdr *tcp)
{
	__u8 ip[40];

	return load(skb, at, ip, sizeof(ip)) &&
	       !bpf_tcp_check_syncookie(listener, ip, sizeof(ip), tcp, sizeof(*tcp));
}

/*
 * Whether a packet cannot be of the connection that a socket in TIME_WAIT is left of: both ends
 * have ended that one, so who sends data uses its ports again, and has its connection elsewhere.
 */
INLINE bool is_of_another(const struct __sk_buff *skb, const struct packet *packet,
			  const struct tcphdr *tcp)
{
	return !tcp->syn && !tcp->fin && skb->len > packet->payload + tcp->doff * 4;
}

/*
 * Whether a packet can be of the connection that a socket has. Where clients move to and fro,
 * the end of a connection may never be heard, and its client uses the ports again meanwhile, for
 * a connection that is elsewhere. What that one acknowledges was not sent here, give or take
 * some: packets overtake each other, and on one machine an ACK comes before the sender has noted
 * what it sent. Who begins is answered so that it begins anew (RFC 9293, 3.10.7.4). What has no
 * numbers yet (a SYN was answered) takes all.
 */
INLINE bool is_of(struct bpf_sock *sock, const struct tcphdr *tcp)
{
	const struct bpf_tcp_sock *known = bpf_tcp_sock(sock);
	__u32 oldest;

	if (!known || (tcp->syn && !tcp->ack))
		return true;
	oldest = known->snd_una - ACK_SLACK;
	return HOST32(tcp->seq) - known->rcv_nxt + WINDOW_MAX < 2 * WINDOW_MAX &&
	       (!tcp->ack || HOST32(tcp->ack_seq) - oldest <= known->snd_nxt - oldest + ACK_SLACK);
}

/*
 * Whether the instance should take a packet of a TCP flow, whose IP header is at `at`: it has
 * a socket for it. For the beginning of a flow that is a listener, which goes with its process:
 * who begins a flow after that meets the next instance before any table has changed. What is in
 * our own namespace may pass flows on to where it has sockets, as to a pod: nobody listens here.
 */
INLINE bool is_known(struct __sk_buff *skb, __u32 at, const struct packet *packet,
		     const struct flow *flow, __s32 network_namespace)
{
	struct bpf_sock_tuple tuple = {};
	struct tcphdr tcp = {};
	struct bpf_sock *sock;
	bool known;

	if (!flow->quoted && !load(skb, packet->payload, &tcp, sizeof(tcp)))
		return true; /* the instance will drop it, as anybody would */
	if (flow->v6) {
		__builtin_memcpy(tuple.ipv6.saddr, flow->client.word, 16);
		__builtin_memcpy(tuple.ipv6.daddr, flow->service.word, 16);
		__builtin_memcpy(&tuple.ipv6.sport, &flow->ports, 4);
		sock = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), network_namespace, 0);
	} else {
		tuple.ipv4.saddr = flow->client.word[3];
		tuple.ipv4.daddr = flow->service.word[3];
		__builtin_memcpy(&tuple.ipv4.sport, &flow->ports, 4);
		sock = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), network_namespace, 0);
	}
	if (!sock)
		return network_namespace < 0;
	if (sock->state == BPF_TCP_TIME_WAIT)
		known = flow->quoted || !is_of_another(skb, packet, &tcp);
	else if (sock->state == BPF_TCP_LISTEN)
		known = (tcp.syn && !tcp.ack) ||
			(!flow->quoted && returns_cookie(skb, at, sock, &tcp));
	else
		known = flow->quoted || is_of(sock, &tcp);
	bpf_sk_release(sock);
	return known;
}

/* Who should be asked for the packet in the outer one; 0 if it may stay here. */
INLINE __u32 second_chance(struct __sk_buff *skb, const struct home *home,
			   const struct address *me, bool v6, __u32 label)
{
	const __u32 at = ETHERNET + sizeof(struct ip6);
	const struct service *service;
	const struct table *table;
	struct packet packet;
	struct flow flow;
	struct row row;
	__u32 next;

	if (!read_ip(skb, at, v6, &packet) || read_flow(skb, &packet, &flow) != FLOW)
		return 0;
	if (flow.protocol != IPPROTO_TCP || !flow.ports)
		return 0;
	if (is_known(skb, at, &packet, &flow, home->network_namespace_id))
		return 0;
	service = FIND(services, &flow.service);
	table = service ? table_of(service) : 0;
	if (!table)
		return 0;
	row = table->row[flow_hash(&flow, service->seed) % ROWS];
	next = next_candidate(&row, me, label & HOPS_MASK, true);
	if (!next)
		next = next_candidate(&row, me, (label & MOVES_MASK) / ONE_MOVE, false);
	if (!next)
		count(LAST_HOP);
	return next;
}

/* Send an outer packet on to another instance. */
INLINE bool readdress(struct __sk_buff *skb, struct ip6 *outer, const struct address *to)
{
	__u32 word = HOST32(outer->version_class_label);

	/* No carry: second_chance() has made sure that hops and moves are below MAX_HOPS. */
	word = is_near(to, &outer->destination) ? word + 1 : (word & ~HOPS_MASK) + ONE_MOVE;
	outer->version_class_label = NET32(word);
	outer->destination = *to;
	return !bpf_skb_store_bytes(skb, ETHERNET, outer, sizeof(*outer), BPF_F_RECOMPUTE_CSUM);
}

INLINE bool shrink(struct __sk_buff *skb, __u32 bytes, __u64 flags)
{
	return !bpf_skb_adjust_room(skb, -(__s32)bytes, BPF_ADJ_ROOM_MAC,
				    BPF_F_ADJ_ROOM_FIXED_GSO | flags);
}

/* Before Linux 6.3 no IPv4 packet comes out of an IPv6 one; there the outer header becomes one of
 * IPv4 first.
 */
INLINE bool decapsulate(struct __sk_buff *skb, bool v6)
{
	if (v6)
		return shrink(skb, sizeof(struct ip6), 0);
	return skb->len >= ETHERNET + sizeof(struct ip6) + sizeof(struct iphdr) &&
	       (shrink(skb, sizeof(struct ip6), DECAP_L3_IPV4) ||
		(!bpf_skb_change_proto(skb, NET16(ETH_P_IP), 0) &&
		 shrink(skb, sizeof(struct iphdr), 0))) &&
	       write_type(skb, NET16(ETH_P_IP));
}

INLINE bool is_from_director(const struct ip6 *outer)
{
	__u32 label = HOST32(outer->version_class_label) & LABEL_MASK;

	return (label & ~(HOPS_MASK | MOVES_MASK)) == LABEL && is_infrastructure(&outer->source);
}

enum arrival { STAYS, MOVES_ON, DROPPED };

/* An outer packet has reached the node of an instance: take it out, or send it on. */
INLINE enum arrival arrive(struct __sk_buff *skb, const struct home *home, struct ip6 *outer)
{
	const bool v6 = outer->next_header == IPPROTO_IPV6;
	const struct address me = outer->destination;
	struct instance_stats *stats;
	const struct address *to;
	__u32 next;

	if (!is_from_director(outer)) {
		count(FORGED);
		return DROPPED;
	}
	next = second_chance(skb, home, &me, v6,
			     HOST32(outer->version_class_label) & LABEL_MASK);
	to = next ? address_of(next) : 0;
	if (to ? !readdress(skb, outer, to) : !decapsulate(skb, v6)) {
		count(FAILED);
		return DROPPED;
	}
	if (!to) {
		count(DECAPSULATED);
		return STAYS;
	}
	stats = AT(instance_stats, next);
	if (stats)
		stats->second_chances += packets_in(skb);
	count(SECOND_CHANCE);
	return MOVES_ON;
}

/* Send a packet back to where it came from: let it come in where it would go out. */
INLINE int turn_back(struct __sk_buff *skb)
{
	struct ethhdr link, back;

	if (!load(skb, 0, &link, sizeof(link)))
		return drop(FAILED);
	back = link;
	__builtin_memcpy(back.h_dest, link.h_source, ETH_ALEN);
	__builtin_memcpy(back.h_source, link.h_dest, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, &back, sizeof(back), 0))
		return drop(FAILED);
	skb->mark = REDIRECTED;
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

/*
 * An outer packet from another machine of ours. If the instance is here, it comes out at the
 * instance's end of its veth, which spares the node a routing of its own and a second queue.
 */
INLINE int deliver(struct __sk_buff *skb, const struct address *to)
{
	const struct home *home = FIND(homes, to);
	struct ip6 outer;

	if (!home || skb->pkt_type != PACKET_HOST ||
	    !load(skb, ETHERNET, &outer, sizeof(outer)))
		return TC_ACT_OK;
	switch (arrive(skb, home, &outer)) {
	case STAYS: /* what is in our own namespace has its address here */
		return home->network_namespace_id < 0 ? TC_ACT_OK
						      : bpf_redirect_peer(home->device, 0);
	case MOVES_ON:
		return TC_ACT_OK;
	default:
		return TC_ACT_SHOT;
	}
}

/* ---- the programs ------------------------------------------------------------------------ */

/* A packet that comes from a device: to a service, or to an instance of one. */
INLINE int ingress(struct __sk_buff *skb, __u32 link, bool trusted)
{
	const struct service *service;
	struct packet packet;

	if (skb->protocol != NET16(ETH_P_IP) && skb->protocol != NET16(ETH_P_IPV6))
		return TC_ACT_OK;
	if (!read_ip(skb, link, skb->protocol == NET16(ETH_P_IPV6), &packet))
		return TC_ACT_OK;
	if (is_tunnel(packet.protocol) && is_infrastructure(&packet.destination)) {
		if (!trusted)
			return drop(FORGED);
		return link ? deliver(skb, &packet.destination) : TC_ACT_OK;
	}
	service = FIND(services, &packet.destination);
	return service ? send(skb, link, &packet, service) : TC_ACT_OK;
}

/* From peers: nobody there may send outer packets to us. */
SEC("tc/outside")
int outside(struct __sk_buff *skb)
{
	return ingress(skb, ETHERNET, false);
}

SEC("tc/outside_l3")
int outside_l3(struct __sk_buff *skb)
{
	return ingress(skb, NO_LINK_HEADER, false);
}

/* From our own machines: fabrics and the backbone. */
SEC("tc/inside")
int inside(struct __sk_buff *skb)
{
	return ingress(skb, ETHERNET, true);
}

SEC("tc/inside_l3")
int inside_l3(struct __sk_buff *skb)
{
	return ingress(skb, NO_LINK_HEADER, true);
}

/*
 * From an instance, or from our own instance_out. Nobody else can set the mark: it does not
 * survive the way from one network namespace to another.
 */
SEC("tc/instance_in")
int instance_in(struct __sk_buff *skb)
{
	if (skb->mark == REDIRECTED) {
		skb->mark = 0;
		return TC_ACT_OK;
	}
	return ingress(skb, ETHERNET, false);
}

/*
 * To an instance: outer packets that did not come in by deliver(), such as those of clients on
 * the same node. Heartbeats do not matter: what is on its way must arrive.
 */
SEC("tc/instance_out")
int instance_out(struct __sk_buff *skb)
{
	const struct home *home;
	struct ip6 outer;

	if (skb->protocol != NET16(ETH_P_IPV6) || !load(skb, ETHERNET, &outer, sizeof(outer)) ||
	    !is_tunnel(outer.next_header))
		return TC_ACT_OK;
	home = FIND(homes, &outer.destination);
	if (!home || home->device != skb->ifindex)
		return TC_ACT_OK;
	switch (arrive(skb, home, &outer)) {
	case STAYS:
		return TC_ACT_OK;
	case MOVES_ON:
		return turn_back(skb);
	default:
		return TC_ACT_SHOT;
	}
}
