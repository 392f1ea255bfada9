//! Where boxes come to rest within their rows, once their order is known.
//!
//! Every line pulls its ends together, one between two bends the most, so that long lines are straight. A row gives way
//! as a whole: the places that are nearest to where each is pulled, in order and far enough apart (pool adjacent
//! violators, exact for one row). Rows are gone through so often, which is enough for a picture.

/// Down and up in turn, from the rows already placed.
const ROUGH: usize = 6;
/// With both neighbours, until nothing moves much.
const FINE: usize = 24;

/// Who pulls whom, and how much.
pub(super) struct Pulls {
    up: Vec<Vec<(usize, f64)>>,
    down: Vec<Vec<(usize, f64)>>,
}

impl Pulls {
    /// Of pieces that lead from a row to the next.
    pub(super) fn new(count: usize, pieces: &[(u32, u32)], is_bend: impl Fn(usize) -> bool) -> Self {
        let (mut up, mut down) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        for (from, to) in pieces.iter().map(|(from, to)| (*from as usize, *to as usize)) {
            let weight = match (is_bend(from), is_bend(to)) {
                (true, true) => 8.0,
                (false, false) => 1.0,
                _ => 2.0,
            };
            down[from].push((to, weight));
            up[to].push((from, weight));
        }
        Self { up, down }
    }
}

/// Moves the boxes and bends of a part; their order in each row stays, and `apart` says how far two centres must be.
pub(super) fn rest(part: &mut [(usize, f64)], pulls: &Pulls, layers: &[usize], apart: impl Fn(usize, usize) -> f64) {
    part.sort_by(|(a, ax), (b, bx)| layers[*a].cmp(&layers[*b]).then(ax.total_cmp(bx)).then(a.cmp(b)));
    let mut x = vec![0.0; layers.len()];
    let rows: Vec<Vec<usize>> = part
        .chunk_by(|(a, _), (b, _)| layers[*a] == layers[*b])
        .map(|row| row.iter().map(|(at, _)| *at).collect())
        .collect();
    for row in &rows {
        let wanted = vec![(0.0, 1.0); row.len()];
        settle(row, &wanted, &apart, &mut x);
    }
    for round in 0..ROUGH + FINE {
        let is_down = round % 2 == 0;
        for at in 0..rows.len() {
            let row = &rows[if is_down { at } else { rows.len() - 1 - at }];
            let wanted: Vec<(f64, f64)> = row
                .iter()
                .map(|node| {
                    let up = pulls.up[*node].iter().filter(|_| is_down || round >= ROUGH);
                    let down = pulls.down[*node].iter().filter(|_| !is_down || round >= ROUGH);
                    let (sum, weight) = up
                        .chain(down)
                        .fold((0.0, 0.0), |(sum, all), (other, weight)| (sum + weight * x[*other], all + weight));
                    if weight > 0.0 { (sum / weight, weight) } else { (x[*node], 0.1) }
                })
                .collect();
            settle(row, &wanted, &apart, &mut x);
        }
    }
    for (node, place) in part {
        *place = x[*node];
    }
}

/// One row: each as near as can be to where it is wanted, by weight.
fn settle(row: &[usize], wanted: &[(f64, f64)], apart: &impl Fn(usize, usize) -> f64, x: &mut [f64]) {
    // Measured from the tightest row, far enough apart means in order.
    let mut tight = vec![0.0; row.len()];
    for at in 1..row.len() {
        tight[at] = tight[at - 1] + apart(row[at - 1], row[at]);
    }
    // Blocks that move together: sum of weighted places, weight, how many.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::with_capacity(row.len());
    for (at, (place, weight)) in wanted.iter().enumerate() {
        blocks.push(((place - tight[at]) * weight, *weight, 1));
        while let [.., (before, by, some), (sum, weight, more)] = blocks[..]
            && before / by > sum / weight
        {
            blocks.truncate(blocks.len() - 2);
            blocks.push((before + sum, by + weight, some + more));
        }
    }
    let mut at = 0;
    for (sum, weight, count) in blocks {
        for _ in 0..count {
            x[row[at]] = sum / weight + tight[at];
            at += 1;
        }
    }
}
