//! Indices that lead out of a variable lead nowhere else: not into the buffers beside it, and not into other variables.
#![allow(clippy::unwrap_used)]

mod support;

use aevir_gpu::GpuLimits;
use support::{session, words};

/// What the kernel's own buffers hold.
const OWN: u32 = 0x1111_1111;
/// What everybody else's hold.
const OTHERS: u32 = 0x2222_2222;
/// Words of each buffer.
const WORDS: usize = 64;

/// Reads and writes `at` words after the beginning of variables of every address space.
const OUTSIDE: &str = "
@group(0) @binding(0) var<storage, read_write> open: array<u32>;
@group(0) @binding(1) var<storage, read_write> closed: array<u32, 64>;
@group(0) @binding(2) var<storage, read> readable: array<u32>;
@group(0) @binding(3) var<uniform> even: array<vec4u, 16>;
@group(0) @binding(4) var<storage, read> places: array<u32>;
@group(0) @binding(5) var<storage, read_write> seen: array<u32>;
var<workgroup> shared_words: array<u32, 64>;
var<workgroup> shared_others: array<u32, 64>;
var<private> own: array<u32, 16>;
var<private> own_others: array<u32, 16>;
@compute @workgroup_size(1) fn main() {
    var local: array<u32, 16>;
    var local_others: array<u32, 16>;
    for (var i = 0u; i < 64u; i++) { shared_words[i] = 0x11111111u; shared_others[i] = 0x22222222u; }
    for (var i = 0u; i < 16u; i++) {
        own[i] = 0x11111111u; own_others[i] = 0x22222222u; local[i] = 0x11111111u; local_others[i] = 0x22222222u;
    }
    for (var i = 0u; i < arrayLength(&places); i++) {
        let at = places[i];
        seen[i * 8u] = open[at]; seen[i * 8u + 1u] = closed[at]; seen[i * 8u + 2u] = readable[at];
        seen[i * 8u + 3u] = even[at].x | even[at].w; seen[i * 8u + 4u] = shared_words[at];
        seen[i * 8u + 5u] = own[at]; seen[i * 8u + 6u] = local[at];
        open[at] = 0x11111111u; closed[at] = 0x11111111u; shared_words[at] = 0x11111111u; own[at] = 0x11111111u;
        local[at] = 0x11111111u;
        var harmed = 0u;
        for (var j = 0u; j < 64u; j++) { harmed += u32(shared_others[j] != 0x22222222u); }
        for (var j = 0u; j < 16u; j++) {
            harmed += u32(own_others[j] != 0x22222222u) + u32(local_others[j] != 0x22222222u);
        }
        // What was harmed shows as somebody else's word would.
        seen[i * 8u + 7u] = select(0u, 0x22222222u, harmed > 0u);
    }
}";

#[test]
fn outside_of_a_variable_is_nobody_elses_memory() {
    let mut s = session(GpuLimits::default());
    let kernel = s.create_kernel(OUTSIDE, "main", &[]).unwrap();
    let fill = |s: &mut aevir_gpu::Session, word: u32| {
        let buffer = s.create_buffer(WORDS as u64 * 4).unwrap();
        s.write(&buffer, 0, bytemuck::cast_slice(&[word; WORDS]))
            .unwrap();
        buffer
    };
    // Each of the kernel's buffers between two others, as allocators put them; some are made of memory that was others' before.
    drop((0..8).map(|_| fill(&mut s, OTHERS)).collect::<Vec<_>>());
    s.finish().unwrap();
    let mut others = vec![fill(&mut s, OTHERS)];
    let mut between = |s: &mut aevir_gpu::Session, word| {
        let own = fill(s, word);
        others.push(fill(s, OTHERS));
        own
    };
    let bound = [(); 4].map(|()| between(&mut s, OWN));
    // The next words, the next buffers at every alignment, far away, and what wraps around when it is multiplied by an element's size.
    let mut places: Vec<u32> = (64..200).collect();
    places.extend((6..32).map(|power| 1u32 << power));
    places.extend([
        u32::MAX,
        u32::MAX / 4,
        u32::MAX / 16,
        0x4000_0000,
        0x1000_0000,
    ]);
    let list = s.create_buffer(places.len() as u64 * 4).unwrap();
    s.write(&list, 0, bytemuck::cast_slice(&places)).unwrap();
    let seen = s.create_buffer(places.len() as u64 * 32).unwrap();
    let mut batch = s.create_batch();
    let [a, b, c, d] = &bound;
    batch
        .dispatch(&kernel, &[a, b, c, d, &list, &seen], [1, 1, 1])
        .unwrap();
    s.submit(batch).unwrap();
    let saw = words(&s.read(&seen, 0, seen.size() as u32).unwrap());
    for (at, place) in places.iter().zip(saw.chunks(8)) {
        let mine = place.iter().all(|word| [0, OWN].contains(word));
        assert!(mine, "at {at}: {place:x?}");
    }
    assert!(others.len() == 5);
    for other in &others {
        let found = words(&s.read(other, 0, WORDS as u32 * 4).unwrap());
        assert_eq!(found, [OTHERS; WORDS]);
    }
}
