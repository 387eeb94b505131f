package harness

import "syscall"

// childAttributes puts a child into its own process group and lets the kernel
// end it should this process be killed before it can stop its children.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
