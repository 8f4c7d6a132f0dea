"""What runs collected and computed: written by the phases, read by the next phase and by people."""
