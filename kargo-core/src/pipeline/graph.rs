//! The stages as a graph on petgraph, with what the engine asks of it precomputed.

use std::collections::BTreeMap;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::name::{StageName, WarehouseName};
use crate::stage::Stage;
use crate::warehouse::Warehouse;

/// Who comes after whom. Stages and warehouses are their places in the order of their names, so that the graph takes little memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Graph {
    order: Box<[u32]>,
    downstream: Box<[Box<[u32]>]>,
    requesting: Box<[Box<[u32]>]>,
}

impl Graph {
    /// The graph of `stages`, or the members of each cycle, in the order in which the cycle runs.
    /// References to stages that do not exist are left out; they are reported elsewhere.
    pub(super) fn new(
        warehouses: &BTreeMap<WarehouseName, Warehouse>,
        stages: &BTreeMap<StageName, Stage>,
    ) -> Result<Self, Vec<Vec<StageName>>> {
        // A node's index is its stage's place.
        let mut graph: DiGraph<&StageName, ()> = DiGraph::new();
        let place: BTreeMap<&StageName, NodeIndex> = stages.keys().map(|name| (name, graph.add_node(name))).collect();
        let origin: BTreeMap<&WarehouseName, usize> = warehouses.keys().zip(0..).collect();
        let mut downstream: Vec<Vec<u32>> = vec![Vec::new(); stages.len()];
        let mut requesting: Vec<Vec<u32>> = vec![Vec::new(); warehouses.len()];
        for (name, stage) in stages {
            let to = place[name];
            for request in &stage.requests {
                if let Some(origin) = origin.get(&request.origin) {
                    requesting[*origin].push(number(to));
                }
                for from in request.stages.iter().filter_map(|upstream| place.get(upstream)) {
                    graph.update_edge(*from, to, ());
                    let after = &mut downstream[from.index()];
                    // All that one stage adds comes in a row.
                    if after.last() != Some(&number(to)) {
                        after.push(number(to));
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
        let exact = |lists: Vec<Vec<u32>>| lists.into_iter().map(Vec::into_boxed_slice).collect();
        Ok(Self { order, downstream: exact(downstream), requesting: exact(requesting) })
    }

    /// The places of the stages, upstream before downstream.
    pub(super) fn order(&self) -> impl Iterator<Item = usize> {
        places(Some(&*self.order))
    }

    /// The places of the stages after the one at `stage`.
    pub(super) fn after_stage(&self, stage: usize) -> impl Iterator<Item = usize> {
        places(self.downstream.get(stage).map(|list| &**list))
    }

    /// The places of the stages that ask for freight of the warehouse at `warehouse`.
    pub(super) fn requesting(&self, warehouse: usize) -> impl Iterator<Item = usize> {
        places(self.requesting.get(warehouse).map(|list| &**list))
    }
}

/// A place, of which petgraph has no more than fit.
fn number(node: NodeIndex) -> u32 {
    node.index() as u32
}

fn places(list: Option<&[u32]>) -> impl Iterator<Item = usize> {
    list.into_iter().flatten().map(|place| *place as usize)
}

/// Sorts by the length of the longest way from a source, then by name: a stable order that people expect.
fn depth_order(graph: &DiGraph<&StageName, ()>, topological: Vec<NodeIndex>) -> Box<[u32]> {
    let mut depth = vec![0_usize; graph.node_count()];
    for node in &topological {
        for next in graph.neighbors(*node) {
            depth[next.index()] = depth[next.index()].max(depth[node.index()] + 1);
        }
    }
    let mut nodes = topological;
    nodes.sort_by_key(|node| (depth[node.index()], *node));
    nodes.into_iter().map(number).collect()
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
