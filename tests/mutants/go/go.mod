module mutants

go 1.23
