//! Table `inet netd`: chains are code, the same on every host; networks, subnets and ports are elements of its sets and maps.

pub mod element;

pub use element::Element;
