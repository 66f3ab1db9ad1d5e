//! A tree of regions whose leaves are numbered depth first, so that a subtree is one interval.

use crate::wire::limits::REGION_DEPTH_MAX;
use std::collections::BTreeMap;

/// One node of a region tree as written: its name and what is below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// `eu`
    pub name: String,
    /// Empty for a leaf.
    pub below: Vec<Region>,
}

/// A numbered tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regions {
    leaves: Vec<String>,
    nodes: Vec<(String, (i64, i64))>,
    by_name: BTreeMap<String, (i64, i64)>,
    parents: BTreeMap<String, String>,
}

impl Regions {
    /// Numbers the leaves depth first, in the order given. What lies deeper than
    /// [`REGION_DEPTH_MAX`] is taken as a leaf; the reader refuses such a tree before.
    pub fn new(tops: &[Region]) -> Self {
        let mut built = Self {
            leaves: Vec::new(),
            nodes: Vec::new(),
            by_name: BTreeMap::new(),
            parents: BTreeMap::new(),
        };
        for top in tops {
            built.number(top, REGION_DEPTH_MAX);
        }
        built
    }

    fn number(&mut self, region: &Region, depth: usize) {
        let place = self.nodes.len();
        let low = i64::try_from(self.leaves.len()).unwrap_or(i64::MAX);
        self.nodes.push((region.name.clone(), (low, low)));
        if region.below.is_empty() || depth == 0 {
            self.leaves.push(region.name.clone());
        }
        for below in region.below.iter().filter(|_| depth > 0) {
            self.parents.insert(below.name.clone(), region.name.clone());
            self.number(below, depth - 1);
        }
        let high = i64::try_from(self.leaves.len()).unwrap_or(i64::MAX) - 1;
        if let Some((_, interval)) = self.nodes.get_mut(place) {
            *interval = (low, high);
        }
        self.by_name.insert(region.name.clone(), (low, high));
    }

    /// The leaves by rank.
    pub fn leaves(&self) -> &[String] {
        &self.leaves
    }

    /// Every node's name, parents before children, as often as it occurs.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.nodes.iter().map(|(name, _)| name.as_str())
    }

    /// The closed interval of the ranks of the leaves at or below a node.
    pub fn interval(&self, name: &str) -> Option<(i64, i64)> {
        self.by_name.get(name).copied()
    }

    /// The rank of a leaf; `None` for an inner node.
    pub fn rank(&self, name: &str) -> Option<i64> {
        let rank = self.leaves.iter().position(|leaf| leaf == name)?;
        i64::try_from(rank).ok()
    }

    /// Whether a node is another one or lies below it, by walking up: the reference for intervals.
    pub fn is_within(&self, node: &str, ancestor: &str) -> bool {
        std::iter::successors(Some(node), |node| self.parents.get(*node).map(String::as_str))
            .take(REGION_DEPTH_MAX + 1)
            .any(|node| node == ancestor)
    }

    /// The fewest nodes whose leaves are exactly the interval, largest first from the left.
    pub fn cover(&self, low: i64, high: i64) -> Vec<&str> {
        let mut names = Vec::new();
        let mut next = low;
        while next <= high {
            let best = self
                .nodes
                .iter()
                .filter(|(_, (from, to))| *from == next && *to <= high)
                .max_by_key(|(_, (_, to))| *to);
            let Some((name, (_, to))) = best else { break };
            names.push(name.as_str());
            next = to.saturating_add(1);
        }
        names
    }

    /// The nodes as `(name, interval)`, parents before children.
    pub fn nodes(&self) -> &[(String, (i64, i64))] {
        &self.nodes
    }
}
