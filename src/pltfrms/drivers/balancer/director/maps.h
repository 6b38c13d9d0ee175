/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What the program and its driver share. The driver makes the maps; balancer_maps.py has their
 * kinds and sizes.
 */
#ifndef DIRECTOR_MAPS_H
#define DIRECTOR_MAPS_H

#include "bpf_helpers.h"

#define ROWS 16384
#define CHANCES 8

/* An IPv6 address, or an IPv4 address as ::ffff:a.b.c.d; as in a packet. */
struct address {
	union {
		__be32 word[4];
		__u64 half[2];
	};
};

struct settings {
	__u64 stale_after_ns;
	struct address source;		/* of outer packets, but for the last word */
	__u64 infrastructure;		/* first half of an address, ... */
	__u64 infrastructure_mask;	/* ... and which bits of it count */
};

struct service {
	__u32 table;
	__u32 seed;
};

/* Ids of instances; 0 = nobody. Read while the driver writes it, old and new may be mixed. */
struct row {
	__u16 candidate[CHANCES];
} __attribute__((aligned(16)));

/*
 * Who sends a packet to an instance needs the first of its row only. They stand together once
 * more: of 32 KiB most stays in the caches and the TLB of a CPU, of 256 KiB hardly anything.
 */
struct table {
	__u16 first[ROWS];
	struct row row[ROWS];
};

/* Where an instance of this node is. */
struct home {
	__u32 device;			/* index of our end of its veth */
	__s32 network_namespace_id;	/* of its end, as ours names it; negative: our own */
};

struct service_stats {
	__u64 packets;		/* sent to an instance, and their bytes */
	__u64 bytes;
	__u64 new_flows;	/* TCP SYNs among them */
	__u64 no_instance;	/* left to the kernel's routes: the row has nobody */
};

struct instance_stats {
	__u64 packets;		/* sent to it first */
	__u64 bytes;
	__u64 second_chances;	/* sent to it after another one did not know the flow */
};

/* Indexes of the map `counters`; COUNTERS in balancer_maps.py has their names. */
enum counter {
	STALE,		/* left alone: nobody says any more that the tables are right */
	NO_TABLE,	/* left alone: the service has no table */
	TTL,		/* left alone: its time to live ends here */
	FRAGMENT,	/* encapsulated, by the address of the client alone */
	ICMP_ERROR,	/* encapsulated, by the flow that the error quotes */
	DECAPSULATED,
	SECOND_CHANCE,	/* passed on by an instance that does not know the flow */
	LAST_HOP,	/* decapsulated where the flow is not known: nobody is left to ask */
	FORGED,		/* dropped: an outer packet that none of our machines has made */
	FAILED,		/* the kernel refused to change the size of the packet */
	UNREADABLE,	/* left alone: headers are cut off, or too many */
	COUNTERS
};

MAP(heartbeat, __u32, __u64);		/* CLOCK_MONOTONIC in ns, when tables were right */
MAP(settings, __u32, struct settings);
MAP(services, struct address, struct service);
MAP(tables, __u32, void);		/* each one an array of a single struct table */
MAP(instances, __u32, struct address);
MAP(homes, struct address, struct home);
MAP(service_stats, __u32, struct service_stats);	/* by table */
MAP(instance_stats, __u32, struct instance_stats);	/* by id */
MAP(counters, __u32, __u64);

_Static_assert(sizeof(struct settings) == 40, "balancer_maps.py");
_Static_assert(sizeof(struct service) == 8, "balancer_maps.py");
_Static_assert(sizeof(struct table) == 294912, "balancer_maps.py");
_Static_assert(sizeof(struct home) == 8, "balancer_maps.py");
_Static_assert(sizeof(struct service_stats) == 32, "balancer_maps.py");
_Static_assert(sizeof(struct instance_stats) == 24, "balancer_maps.py");
_Static_assert(COUNTERS <= 32, "balancer_maps.py");

#endif
