/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What a BPF program needs beside the kernel's uapi headers: the helper functions that it
 * calls, typed maps, and byte order. Only what director.bpf.c uses.
 */
#ifndef DIRECTOR_BPF_HELPERS_H
#define DIRECTOR_BPF_HELPERS_H

#include <linux/bpf.h>

typedef _Bool bool;
#define true 1
#define false 0

#define SEC(name) __attribute__((section(name), used))
/* The loader knows no calls between functions: all but the programs are inlined. */
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

/* BPF_F_ADJ_ROOM_DECAP_L3_IPV4: uapi since Linux 6.3, which may be newer than the headers of the
 * build machine.
 */
#define DECAP_L3_IPV4 (1ULL << 7)

/* ---- helper functions, see bpf-helpers(7) ------------------------------------------------ */

#define HELPER(name) (*const bpf_##name)
#define IS(name) ((void *)BPF_FUNC_##name)

struct tcphdr;

static void *HELPER(map_lookup_elem)(const void *map, const void *key) = IS(map_lookup_elem);
static __u64 HELPER(ktime_get_coarse_ns)(void) = IS(ktime_get_coarse_ns);
static long HELPER(skb_load_bytes)(const struct __sk_buff *skb, __u32 offset, void *to,
				   __u32 length) = IS(skb_load_bytes);
static long HELPER(skb_pull_data)(struct __sk_buff *skb, __u32 bytes) = IS(skb_pull_data);
static long HELPER(skb_store_bytes)(struct __sk_buff *skb, __u32 offset, const void *from,
				    __u32 length, __u64 flags) = IS(skb_store_bytes);
static long HELPER(skb_adjust_room)(struct __sk_buff *skb, __s32 more, __u32 mode,
				    __u64 flags) = IS(skb_adjust_room);
static long HELPER(skb_change_proto)(struct __sk_buff *skb, __be16 protocol,
				     __u64 flags) = IS(skb_change_proto);
static long HELPER(redirect)(__u32 ifindex, __u64 flags) = IS(redirect);
static long HELPER(redirect_peer)(__u32 ifindex, __u64 flags) = IS(redirect_peer);
static struct bpf_sock *HELPER(skc_lookup_tcp)(struct __sk_buff *skb,
					       struct bpf_sock_tuple *tuple, __u32 size,
					       __u64 network_namespace,
					       __u64 flags) = IS(skc_lookup_tcp);
static long HELPER(tcp_check_syncookie)(struct bpf_sock *listener, const void *ip,
					__u32 ip_length, const struct tcphdr *tcp,
					__u32 tcp_length) = IS(tcp_check_syncookie);
static struct bpf_tcp_sock *HELPER(tcp_sock)(struct bpf_sock *sock) = IS(tcp_sock);
static long HELPER(sk_release)(struct bpf_sock *sock) = IS(sk_release);

/* ---- maps -------------------------------------------------------------------------------- */

/*
 * A map is a name here, and the types of its keys and values; the driver makes the map itself
 * (layout.py: kind and size) and puts its descriptor into the program before it is loaded.
 */
#define MAP(name, key_type, value_type)                                                        \
	struct {                                                                               \
		key_type *key;                                                                 \
		value_type *value;                                                             \
	} name SEC(".maps")

/* Pointer to the value of a key, or null. */
#define FIND(map, key_pointer)                                                                 \
	({                                                                                     \
		const typeof(*(map).key) *key_ = (key_pointer);                                \
		(typeof((map).value))bpf_map_lookup_elem(&(map), key_);                        \
	})

/* The same of an array, by index. */
#define AT(map, index)                                                                         \
	({                                                                                     \
		__u32 index_ = (index);                                                        \
		FIND(map, &index_);                                                            \
	})

/* ---- byte order -------------------------------------------------------------------------- */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NET16(host) ((__be16)__builtin_bswap16(host))
#define NET32(host) ((__be32)__builtin_bswap32(host))
#define LITTLE32(word) (word)
#else
#define NET16(host) ((__be16)(host))
#define NET32(host) ((__be32)(host))
#define LITTLE32(word) __builtin_bswap32(word)
#endif
#define HOST16(net) ((__u16)NET16(net))
#define HOST32(net) ((__u32)NET32(net))

#endif
