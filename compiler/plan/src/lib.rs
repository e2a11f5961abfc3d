//! Tile recommendation, tile inference, placement: graph to plan.
