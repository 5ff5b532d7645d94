module zoo

go 1.22
