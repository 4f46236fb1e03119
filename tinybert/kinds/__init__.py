"""Task kinds, one file each: `tinybert.kinds.kind` is the interface, `tinybert.kinds.registry` lists them."""
