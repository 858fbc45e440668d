//! Call flows of two layers over a lossy network in virtual time.
