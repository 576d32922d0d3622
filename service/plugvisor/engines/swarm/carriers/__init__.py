"""How the folder of a plugin gets onto a node: in an image of its own, in the common image, or in configs."""
