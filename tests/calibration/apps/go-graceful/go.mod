module calibration

go 1.22
