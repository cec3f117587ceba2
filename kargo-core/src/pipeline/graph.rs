//! The stages as a graph on petgraph, with what the engine asks of it precomputed.

use std::collections::BTreeMap;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::name::{StageName, WarehouseName};
use crate::stage::Stage;

/// Who comes after whom. Look-ups cost a map access, whatever the pipeline's size.
#[derive(Debug, Clone, Default)]
pub(super) struct Graph {
    order: Vec<StageName>,
    downstream: BTreeMap<StageName, Vec<StageName>>,
    requesting: BTreeMap<WarehouseName, Vec<StageName>>,
}

impl Graph {
    /// The graph of `stages`, or the members of each cycle, in the order in which the cycle runs.
    /// References to stages that do not exist are left out; they are reported elsewhere.
    pub(super) fn new(stages: &BTreeMap<StageName, Stage>) -> Result<Self, Vec<Vec<StageName>>> {
        let mut graph: DiGraph<&StageName, ()> = DiGraph::new();
        let index: BTreeMap<&StageName, NodeIndex> = stages.keys().map(|name| (name, graph.add_node(name))).collect();
        let mut downstream: BTreeMap<StageName, Vec<StageName>> = BTreeMap::new();
        let mut requesting: BTreeMap<WarehouseName, Vec<StageName>> = BTreeMap::new();
        for (name, stage) in stages {
            for request in &stage.requests {
                requesting.entry(request.origin.clone()).or_default().push(name.clone());
                for upstream in &request.stages {
                    let (Some(from), Some(to)) = (index.get(upstream), index.get(name)) else { continue };
                    graph.update_edge(*from, *to, ());
                    let after = downstream.entry(upstream.clone()).or_default();
                    if !after.contains(name) {
                        after.push(name.clone());
                    }
                }
            }
        }
        // The components come out downstream first. Kosaraju's algorithm does not recurse, so a long pipeline is no deep stack.
        let components = kosaraju_scc(&graph);
        let looped =
            |component: &Vec<NodeIndex>| component.len() > 1 || graph.contains_edge(component[0], component[0]);
        let cycles: Vec<Vec<StageName>> =
            components.iter().filter(|component| looped(component)).map(|c| walk(&graph, c)).collect();
        if !cycles.is_empty() {
            return Err(cycles);
        }
        let order = depth_order(&graph, components.into_iter().flatten().rev().collect());
        Ok(Self { order, downstream, requesting })
    }

    pub(super) fn order(&self) -> &[StageName] {
        &self.order
    }

    pub(super) fn after_stage(&self, stage: &StageName) -> &[StageName] {
        self.downstream.get(stage).map_or(&[], Vec::as_slice)
    }

    pub(super) fn requesting(&self, warehouse: &WarehouseName) -> &[StageName] {
        self.requesting.get(warehouse).map_or(&[], Vec::as_slice)
    }
}

/// Sorts by the length of the longest way from a source, then by name: a stable order that people expect.
fn depth_order(graph: &DiGraph<&StageName, ()>, topological: Vec<NodeIndex>) -> Vec<StageName> {
    let mut depth = vec![0_usize; graph.node_count()];
    for node in &topological {
        for next in graph.neighbors(*node) {
            depth[next.index()] = depth[next.index()].max(depth[node.index()] + 1);
        }
    }
    let mut nodes = topological;
    nodes.sort_by_key(|node| (depth[node.index()], graph[*node]));
    nodes.into_iter().map(|node| graph[node].clone()).collect()
}

/// One way round inside a strongly connected component, from its smallest name.
fn walk(graph: &DiGraph<&StageName, ()>, component: &[NodeIndex]) -> Vec<StageName> {
    let Some(&start) = component.iter().min_by_key(|node| graph[**node]) else { return Vec::new() };
    // Breadth first from `start` back to `start`: the shortest cycle through it.
    let mut came_from: BTreeMap<NodeIndex, NodeIndex> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for next in graph.neighbors(node) {
            if next == start {
                let mut path = vec![node];
                let mut at = node;
                while at != start {
                    at = came_from[&at];
                    path.push(at);
                }
                path.reverse();
                return path.into_iter().map(|node| graph[node].clone()).collect();
            }
            if component.contains(&next) && !came_from.contains_key(&next) && next != start {
                came_from.insert(next, node);
                queue.push_back(next);
            }
        }
    }
    component.iter().map(|node| graph[*node].clone()).collect()
}
