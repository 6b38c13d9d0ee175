/* A web server for images made from nothing: answers everything with its first argument, one
 * client after the other. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    const char *said = argc > 1 ? argv[1] : "hello";
    char question[4096], answer[4096];
    struct sockaddr_in6 all = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    int yes = 1, door = socket(AF_INET6, SOCK_STREAM, 0);
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(door, (struct sockaddr *)&all, sizeof all) || listen(door, 512)) {
        perror("cannot listen");
        return 1;
    }
    snprintf(answer, sizeof answer,
             "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
             strlen(said), said);
    for (;;) {
        int client = accept(door, NULL, NULL);
        if (client >= 0 && read(client, question, sizeof question) > 0)
            (void)!write(client, answer, strlen(answer));
        close(client);
    }
}
