#include <hello.h>

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    char *text = hello_greeting(argc > 1 ? argv[1] : "world");
    if (text == NULL)
        return 1;
    puts(text);
    free(text);
    return 0;
}
