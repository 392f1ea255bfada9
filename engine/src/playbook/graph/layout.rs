//! Where the boxes of a drawing stand, and which way its lines go.
//!
//! A row is how many steps must end one after the other before a step may start. A line that passes rows gets a bend in
//! each, so that it leads between boxes and not through them. In which order boxes stand in their row is
//! rust-sugiyama's answer (its places take nearly twice the width); all else is here, the places in [`rest`].
//! Invariants: boxes never overlap, the same graph always looks the same, and the work is bounded: past [`MOST_LINES`]
//! the longest lines lead straight on, under the boxes.

mod rest;

use rust_sugiyama::configure::{Config, CrossingMinimization, RankingType};
use rust_sugiyama::from_vertices_and_edges;

/// Pieces of lines that are laid out, bends counted: a second's work without optimisation.
const MOST_LINES: usize = 2000;
/// Past so many, pairs of neighbours are not tried out: it costs more than it gives.
const MOST_TRIED: usize = 400;
/// Between boxes of a row.
const BESIDE: f64 = 28.0;
/// Between rows.
const BELOW: f64 = 46.0;
/// A line's room where it passes a row.
const BEND: f64 = 10.0;
/// Parts that do not hang together stand side by side up to here, then below each other.
const WIDE: f64 = 1400.0;
/// Between the ends of lines at one box.
const PORT: f64 = 16.0;

/// A size or a point.
pub(super) type Pair = (f64, f64);

/// A way: from its box down through each row, each with its upper and lower edge, to the next box.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Way {
    pub(super) start: Pair,
    /// Where it leaves its first row, passes others (`x`, top, bottom), and enters the last.
    pub(super) leaves: f64,
    pub(super) passes: Vec<(f64, f64, f64)>,
    pub(super) enters: f64,
    pub(super) end: Pair,
}

/// Everything in its place, from (0, 0).
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Layout {
    /// The upper left corner of each box.
    pub(super) boxes: Vec<Pair>,
    /// In the order of the edges.
    pub(super) ways: Vec<Way>,
    pub(super) size: Pair,
}

/// A row's edges within the drawing.
#[derive(Clone, Copy, Default)]
struct Row {
    top: f64,
    bottom: f64,
}

/// Lays out boxes of these sizes; an edge leads from an earlier box to a later one.
pub(super) fn layout(sizes: &[Pair], edges: &[(usize, usize)]) -> Layout {
    let rows = rows(sizes.len(), edges);
    let Cut { bends, pieces, widths } = Cut::new(sizes, edges, &rows);
    let layers: Vec<usize> = {
        let bent = edges.iter().zip(&bends).flat_map(|((from, _), bends)| (1..=bends.len()).map(|n| rows[*from] + n));
        rows.iter().copied().chain(bent).collect()
    };
    let mut centres = vec![(0.0, Row::default()); widths.len()];
    let size = pack(&parts(&widths, &pieces, &layers), sizes, &widths, &layers, &mut centres);
    let place = |at: usize| {
        let (x, row) = centres[at];
        (x - sizes[at].0 / 2.0, (row.top + row.bottom - sizes[at].1) / 2.0)
    };
    let boxes: Vec<Pair> = (0..sizes.len()).map(place).collect();
    let towards = |edge: usize, out: bool| {
        let next = if out { bends[edge].first() } else { bends[edge].last() };
        let other = if out { edges[edge].1 } else { edges[edge].0 };
        centres[next.copied().unwrap_or(other)].0
    };
    let (mut starts, mut ends) = (vec![0.0; edges.len()], vec![0.0; edges.len()]);
    for (node, (width, _)) in sizes.iter().enumerate() {
        for out in [true, false] {
            let mut mine: Vec<usize> =
                (0..edges.len()).filter(|at| if out { edges[*at].0 == node } else { edges[*at].1 == node }).collect();
            mine.sort_by(|a, b| towards(*a, out).total_cmp(&towards(*b, out)));
            let apart = PORT.min((width - 2.0 * PORT).max(0.0) / mine.len().max(1) as f64);
            let first = centres[node].0 - apart * mine.len().saturating_sub(1) as f64 / 2.0;
            for (at, edge) in mine.into_iter().enumerate() {
                (if out { &mut starts } else { &mut ends })[edge] = first + apart * at as f64;
            }
        }
    }
    let way = |(at, (from, to)): (usize, &(usize, usize))| Way {
        start: (starts[at], boxes[*from].1 + sizes[*from].1),
        leaves: centres[*from].1.bottom,
        passes: bends[at]
            .iter()
            .map(|bend| (centres[*bend].0, centres[*bend].1.top, centres[*bend].1.bottom))
            .collect(),
        enters: centres[*to].1.top,
        end: (ends[at], boxes[*to].1),
    };
    Layout { ways: edges.iter().enumerate().map(way).collect(), boxes, size }
}

/// How many steps must end one after the other before each.
fn rows(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut rows = vec![0; count];
    let mut sorted = edges.to_vec();
    sorted.sort_unstable_by_key(|(_, to)| *to);
    for (from, to) in sorted {
        debug_assert!(from < to, "a box stands after those that it needs");
        rows[to] = rows[to].max(rows[from] + 1);
    }
    rows
}

/// Lines, cut at each row. Bends are numbered after the boxes.
struct Cut {
    /// Of each line.
    bends: Vec<Vec<usize>>,
    /// From a row to the next.
    pieces: Vec<(u32, u32)>,
    /// Of boxes and bends.
    widths: Vec<f64>,
}

impl Cut {
    fn new(sizes: &[Pair], edges: &[(usize, usize)], rows: &[usize]) -> Self {
        let length = |edge: usize| rows[edges[edge].1] - rows[edges[edge].0];
        let mut short_first: Vec<usize> = (0..edges.len()).collect();
        short_first.sort_by_key(|edge| (length(*edge), *edge));
        let mut room = MOST_LINES;
        let mut is_laid = vec![false; edges.len()];
        for edge in short_first {
            // Of those without a bend one for each box is needed, or it would stand anywhere.
            let Some(left) = room.checked_sub(length(edge)) else { break };
            (room, is_laid[edge]) = (left, true);
        }
        let mut widths: Vec<f64> = sizes.iter().map(|(width, _)| *width).collect();
        let mut bends = vec![Vec::new(); edges.len()];
        let mut pieces = Vec::new();
        let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        for (edge, (from, to)) in edges.iter().enumerate().filter(|(edge, _)| is_laid[*edge]) {
            let mut at = *from;
            for _ in 1..length(edge) {
                pieces.push((number(at), number(widths.len())));
                at = widths.len();
                bends[edge].push(at);
                widths.push(BEND);
            }
            pieces.push((number(at), number(*to)));
        }
        Self { bends, pieces, widths }
    }
}

/// What hangs together: each box and bend with its centre in its row.
fn parts(widths: &[f64], pieces: &[(u32, u32)], layers: &[usize]) -> Vec<Vec<(usize, f64)>> {
    let config = Config {
        minimum_length: 1,
        vertex_spacing: BESIDE,
        dummy_vertices: true,
        dummy_size: 1.0,
        ranking_type: RankingType::Up,
        c_minimization: CrossingMinimization::Barycenter,
        transpose: pieces.len() <= MOST_TRIED,
    };
    let vertices: Vec<(u32, Pair)> = (0..).zip(widths).map(|(at, width)| (at, (*width, BEND))).collect();
    let placed = from_vertices_and_edges(&vertices, pieces, &config);
    let mut parts: Vec<Vec<(usize, f64)>> =
        placed.into_iter().map(|(part, ..)| part.into_iter().map(|(at, (x, _))| (at, x)).collect()).collect();
    let pulls = rest::Pulls::new(widths.len(), pieces, |at| widths[at] == BEND);
    for part in &mut parts {
        rest::rest(part, &pulls, layers, |left, right| (widths[left] + widths[right]) / 2.0 + BESIDE);
        part.sort_unstable_by_key(|(at, _)| *at);
    }
    parts.sort_by_key(|part| part.first().map(|(at, _)| *at));
    parts
}

/// Puts the parts beside and below each other; gives the size of the whole.
fn pack(
    parts: &[Vec<(usize, f64)>],
    sizes: &[Pair],
    widths: &[f64],
    layers: &[usize],
    centres: &mut [(f64, Row)],
) -> Pair {
    let (mut at, mut shelf, mut size): (Pair, f64, Pair) = ((0.0, 0.0), 0.0, (0.0, 0.0));
    for part in parts {
        let left = part.iter().map(|(at, x)| x - widths[*at] / 2.0).fold(f64::INFINITY, f64::min);
        let right = part.iter().map(|(at, x)| x + widths[*at] / 2.0).fold(f64::NEG_INFINITY, f64::max);
        if at.0 > 0.0 && at.0 + right - left > WIDE {
            at = (0.0, shelf + BELOW);
        }
        let depth = part.iter().map(|(at, _)| layers[*at] + 1).max().unwrap_or(0);
        let mut heights = vec![0.0_f64; depth];
        for (node, _) in part {
            heights[layers[*node]] = heights[layers[*node]].max(sizes.get(*node).map_or(0.0, |(_, height)| *height));
        }
        let mut top = at.1;
        let mut rows = Vec::with_capacity(depth);
        for height in heights {
            rows.push(Row { top, bottom: top + height });
            top += height + BELOW;
        }
        for (node, x) in part {
            centres[*node] = (at.0 + x - left, rows[layers[*node]]);
        }
        let bottom = rows.last().map_or(at.1, |row| row.bottom);
        shelf = shelf.max(bottom);
        size = (size.0.max(at.0 + right - left), size.1.max(bottom));
        at.0 += right - left + 2.0 * BESIDE;
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn apart(sizes: &[Pair], layout: &Layout) -> bool {
        let hits = |a: usize, b: usize, way: fn(Pair) -> f64| {
            let (first, second) = (way(layout.boxes[a]), way(layout.boxes[b]));
            first < second + way(sizes[b]) && second < first + way(sizes[a])
        };
        (0..sizes.len()).all(|a| (0..a).all(|b| !(hits(a, b, |pair| pair.0) && hits(a, b, |pair| pair.1))))
    }

    fn check(sizes: &[Pair], edges: &[(usize, usize)]) -> Layout {
        let placed = layout(sizes, edges);
        assert!(apart(sizes, &placed), "boxes overlap: {placed:?}");
        for ((x, y), (width, height)) in placed.boxes.iter().zip(sizes) {
            assert!(*x >= -0.01 && *y >= -0.01, "outside: {x} {y}");
            assert!(x + width <= placed.size.0 + 0.01 && y + height <= placed.size.1 + 0.01, "outside: {x} {y}");
        }
        for ((from, to), way) in edges.iter().zip(&placed.ways) {
            let bottom = placed.boxes[*from].1 + sizes[*from].1;
            assert!(way.start.1 == bottom && way.end.1 == placed.boxes[*to].1 && bottom < way.end.1);
        }
        placed
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn boxes_never_overlap_and_lines_lead_down(
            sizes in prop::collection::vec((60.0..400.0_f64, 30.0..120.0_f64), 1..24),
            wanted in prop::collection::vec((0_usize..24, 0_usize..24), 0..50),
        ) {
            let count = sizes.len();
            let mut edges: Vec<(usize, usize)> = wanted.into_iter().filter(|(a, b)| a < b && *b < count).collect();
            edges.sort_unstable();
            edges.dedup();
            let first = check(&sizes, &edges);
            prop_assert_eq!(first, layout(&sizes, &edges));
        }
    }

    #[test]
    fn a_line_that_passes_rows_leads_beside_their_boxes() {
        let sizes = [(100.0, 40.0); 4];
        let placed = check(&sizes, &[(0, 1), (1, 2), (2, 3), (0, 3)]);
        let way = &placed.ways[3];
        assert_eq!(way.passes.len(), 2);
        for (pass, at) in way.passes.iter().zip([1, 2]) {
            let (left, right) = (placed.boxes[at].0, placed.boxes[at].0 + 100.0);
            assert!(pass.0 < left || pass.0 > right, "{pass:?} leads through {left}..{right}");
        }
    }

    #[test]
    fn three_hundred_steps_are_laid_out_however_they_hang_together() {
        let sizes = vec![(150.0, 60.0); 300];
        let each = |needs: &dyn Fn(usize) -> Vec<usize>| -> Vec<(usize, usize)> {
            (0..300).flat_map(|to| needs(to).into_iter().map(move |from| (from, to))).collect()
        };
        let chain = each(&|to| (to.saturating_sub(1)..to).collect());
        let all_before = each(&|to| (0..to).collect());
        let two_crowds = each(&|to| if to < 150 { Vec::new() } else { (0..150).collect() });
        let woven = each(&|to| (1..=3).filter_map(|n| to.checked_sub(n * n * 3)).collect());
        for edges in [Vec::new(), chain, all_before, two_crowds, woven] {
            check(&sizes, &edges);
        }
    }
}
