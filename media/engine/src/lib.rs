//! Moves packets between the kernel and the forwarding core, in batches.
