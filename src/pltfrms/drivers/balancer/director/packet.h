/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Reading packets: addresses, headers, and which flow a packet belongs to. */
#ifndef DIRECTOR_PACKET_H
#define DIRECTOR_PACKET_H

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>

#include "maps.h"

#define MAX_EXTENSIONS 4 /* IPv6 extension headers; a packet with more cannot be read */

/* ---- packets ----------------------------------------------------------------------------- */

INLINE struct address mapped(__be32 v4)
{
	return (struct address){.word = {0, 0, NET32(0xffff), v4}};
}

INLINE bool same(const struct address *a, const struct address *b)
{
	return a->half[0] == b->half[0] && a->half[1] == b->half[1];
}

struct ip6 {
	__be32 version_class_label;
	__be16 payload_bytes;
	__u8 next_header;
	__u8 hop_limit;
	struct address source;
	struct address destination;
};

struct extension {
	__u8 next_header;
	__u8 length;		/* in 8 bytes, beyond the first 8; not in a fragment header */
	__be16 fragment;	/* only in a fragment header: offset, and whether more follow */
};

enum fragment { WHOLE, FIRST, LATER };

/* One IP packet: the one that is here, or what an ICMP error quotes of another. */
struct packet {
	struct address source;
	struct address destination;
	__u32 payload;		/* where it begins */
	__u32 ports;		/* source and destination, as they lie there; 0 = none */
	__u8 protocol;		/* of the payload */
	__u8 hop_limit;
	__u8 fragment;
	bool v6;
};

/*
 * A header at a fixed offset; null if the packet ends before. It mostly lies in the linear part
 * of the buffer, and is pulled there if it does not; older pointers are void then.
 */
INLINE const void *header(struct __sk_buff *skb, __u32 at, __u32 bytes)
{
	if (skb->data + at + bytes > skb->data_end && bpf_skb_pull_data(skb, at + bytes))
		return 0;
	if ((void *)(long)skb->data + at + bytes > (void *)(long)skb->data_end)
		return 0;
	return (void *)(long)skb->data + at;
}

/* Copy bytes from any offset, wherever they lie; false if the packet ends before. */
INLINE bool load(const struct __sk_buff *skb, __u32 at, void *to, __u32 bytes)
{
	return !bpf_skb_load_bytes(skb, at, to, bytes);
}

INLINE enum fragment fragment_of(__u16 offset, bool more)
{
	return offset ? LATER : more ? FIRST : WHOLE;
}

INLINE bool read_ip4(const struct iphdr *ip, __u32 at, struct packet *packet)
{
	const __u16 fragment = HOST16(ip->frag_off);

	packet->source = mapped(ip->saddr);
	packet->destination = mapped(ip->daddr);
	packet->payload = at + ip->ihl * 4;
	packet->ports = 0;
	packet->protocol = ip->protocol;
	packet->hop_limit = ip->ttl;
	packet->fragment = fragment_of(fragment & 0x1fff, fragment & 0x2000);
	packet->v6 = false;
	return ip->version == 4 && ip->ihl >= 5;
}

INLINE bool read_ip6(const struct ip6 *ip, __u32 at, struct packet *packet)
{
	packet->source = ip->source;
	packet->destination = ip->destination;
	packet->payload = at + sizeof(*ip);
	packet->ports = 0;
	packet->protocol = ip->next_header;
	packet->hop_limit = ip->hop_limit;
	packet->fragment = WHOLE;
	packet->v6 = true;
	return HOST32(ip->version_class_label) >> 28 == 6;
}

/* Read the IP header at a fixed offset. */
INLINE bool read_ip(struct __sk_buff *skb, __u32 at, bool v6, struct packet *packet)
{
	const struct ip6 *ip6;
	const struct iphdr *ip4;

	if (v6) {
		ip6 = header(skb, at, sizeof(*ip6));
		return ip6 && read_ip6(ip6, at, packet);
	}
	ip4 = header(skb, at, sizeof(*ip4));
	return ip4 && read_ip4(ip4, at, packet);
}

/* Read the IP header of a packet that is quoted somewhere. */
INLINE bool read_quoted_ip(const struct __sk_buff *skb, __u32 at, bool v6,
			   struct packet *packet)
{
	struct ip6 ip6;
	struct iphdr ip4;

	if (v6)
		return load(skb, at, &ip6, sizeof(ip6)) && read_ip6(&ip6, at, packet);
	return load(skb, at, &ip4, sizeof(ip4)) && read_ip4(&ip4, at, packet);
}

INLINE bool is_extension(const struct packet *packet)
{
	return packet->v6 &&
	       (packet->protocol == IPPROTO_HOPOPTS || packet->protocol == IPPROTO_ROUTING ||
		packet->protocol == IPPROTO_DSTOPTS || packet->protocol == IPPROTO_FRAGMENT);
}

/*
 * Go on to what follows the extension headers, or the header that makes it a fragment: all
 * fragments of a packet agree up to there. False if that cannot be found.
 */
INLINE bool skip_extensions(const struct __sk_buff *skb, struct packet *packet)
{
	struct extension extension;

	UNROLL
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		if (!is_extension(packet) || packet->fragment != WHOLE)
			return true;
		if (!load(skb, packet->payload, &extension, sizeof(extension)))
			return false;
		packet->payload += 8;
		if (packet->protocol == IPPROTO_FRAGMENT) {
			__u16 fragment = HOST16(extension.fragment);

			packet->fragment = fragment_of(fragment & 0xfff8, fragment & 1);
		} else {
			packet->payload += extension.length * 8;
		}
		packet->protocol = extension.next_header;
	}
	return !is_extension(packet) || packet->fragment != WHOLE;
}

INLINE bool read_ports(const struct __sk_buff *skb, struct packet *packet)
{
	switch (packet->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_DCCP:
	case IPPROTO_SCTP:
		return load(skb, packet->payload, &packet->ports, sizeof(packet->ports));
	}
	return true;
}

/* ---- flows ------------------------------------------------------------------------------- */

/* Whose packet it is, as its client sees it; for an ICMP error the flow that it is about. */
struct flow {
	struct address client;
	struct address service;
	__u32 ports;		/* the client's, then the service's; 0: the client alone counts */
	__u8 protocol;
	bool v6;
	bool quoted;		/* by an ICMP error */
};

enum reading { FLOW, NOT_OURS, CUT_OFF };

#define ICMP_HEADER 8
#define ICMP_UNREACHABLE 3	/* also: fragmentation needed */
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12
#define ICMP6_FIRST_REQUEST 128	/* all below are errors */
#define ICMP6_FIRST_DISCOVERY 133
#define ICMP6_LAST_DISCOVERY 137

INLINE bool is_icmp_error(bool v6, __u8 type)
{
	if (v6)
		return type < ICMP6_FIRST_REQUEST;
	return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED ||
	       type == ICMP_PARAMETER_PROBLEM;
}

/* The flow of which an ICMP error quotes a packet: that packet went the other way. */
INLINE enum reading read_quoted(const struct __sk_buff *skb, const struct packet *error,
				struct flow *flow)
{
	struct packet quoted;

	if (!read_quoted_ip(skb, error->payload + ICMP_HEADER, error->v6, &quoted) ||
	    !skip_extensions(skb, &quoted) ||
	    (quoted.fragment != LATER && !read_ports(skb, &quoted)))
		return CUT_OFF;
	flow->client = quoted.destination;
	flow->ports = quoted.ports << 16 | quoted.ports >> 16;
	flow->protocol = quoted.protocol;
	flow->quoted = true;
	return FLOW;
}

/* Complete `packet`, whose IP header is read, and say whose it is. */
INLINE enum reading read_flow(const struct __sk_buff *skb, struct packet *packet,
			      struct flow *flow)
{
	__u8 type;

	if (!skip_extensions(skb, packet))
		return CUT_OFF;
	if (packet->fragment == WHOLE && !read_ports(skb, packet))
		return CUT_OFF;
	flow->client = packet->source;
	flow->service = packet->destination;
	flow->ports = packet->ports;
	flow->protocol = packet->protocol;
	flow->v6 = packet->v6;
	flow->quoted = false;
	if (packet->protocol != (packet->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) ||
	    packet->fragment != WHOLE)
		return FLOW;
	if (!load(skb, packet->payload, &type, sizeof(type)))
		return CUT_OFF;
	if (packet->v6 && type >= ICMP6_FIRST_DISCOVERY && type <= ICMP6_LAST_DISCOVERY)
		return NOT_OURS;
	return is_icmp_error(packet->v6, type) ? read_quoted(skb, packet, flow) : FLOW;
}

INLINE __u32 rotate(__u32 word, int bits)
{
	return word << bits | word >> (32 - bits);
}

/*
 * Bob Jenkins' lookup3, of words as they lie in the packet; planner/balancing/flow_hash.py says the
 * same. Of an IPv4 client only the last word counts.
 */
INLINE __u32 flow_hash(const struct flow *flow, __u32 seed)
{
	__u32 a, b, c;

	a = b = c = 0xdeadbeef + seed;
	if (flow->v6) {
		a += LITTLE32(flow->client.word[0]);
		b += LITTLE32(flow->client.word[1]);
		c += LITTLE32(flow->client.word[2]);
		a -= c; a ^= rotate(c, 4); c += b;
		b -= a; b ^= rotate(a, 6); a += c;
		c -= b; c ^= rotate(b, 8); b += a;
		a -= c; a ^= rotate(c, 16); c += b;
		b -= a; b ^= rotate(a, 19); a += c;
		c -= b; c ^= rotate(b, 4); b += a;
	}
	a += LITTLE32(flow->client.word[3]);
	b += LITTLE32(flow->ports);
	c += flow->protocol;
	c ^= b; c -= rotate(b, 14);
	a ^= c; a -= rotate(c, 11);
	b ^= a; b -= rotate(a, 25);
	c ^= b; c -= rotate(b, 16);
	a ^= c; a -= rotate(c, 4);
	b ^= a; b -= rotate(a, 14);
	c ^= b; c -= rotate(b, 24);
	return c;
}

#endif
