"""Where keys lie: in a file, in the clear or wrapped by a program of the operator, and in memory of the processes."""
