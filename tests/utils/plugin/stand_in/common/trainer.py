"""Here for MMRec's source folder to be known by; nothing is trained with it."""
