"""Labels: engines that make them, the store that keeps them, the selection that spares them."""
