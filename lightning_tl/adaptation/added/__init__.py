"""Adaptations that add parameters to a backbone which stays as it is: LoRA, adapters, prompts.

Each exports what it added beside a hash of what it was added to. Those that add nothing lie one room above.
"""
