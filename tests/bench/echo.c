/* SPDX-License-Identifier: MIT */
/*
 * `echo SOCKET` returns to one client what that sends: what a round trip costs on this machine when
 * nothing is done in between.  Says so on standard output when one may connect.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char bytes[4096];
	ssize_t len;

	if (argc != 2 || strlen(argv[1]) >= sizeof(address.sun_path)) {
		fprintf(stderr, "Usage: echo SOCKET\n");
		return 2;
	}
	strcpy(address.sun_path, argv[1]);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 1) < 0 || write(STDOUT_FILENO, "E", 1) != 1) {
		perror("echo");
		return 1;
	}
	fd = accept(fd, NULL, NULL);
	while ((len = read(fd, bytes, sizeof(bytes))) > 0)
		if (write(fd, bytes, (size_t)len) != len)
			break;
	return 0;
}
