// A plain C program, as it would be written for any machine: it counts bytes, lines and words of standard input and of the
// files below /inputs, and prints a JSON document. As a task it needs no change: see docs/guests.md.
//
//   survey [-o NAME] [-s SECONDS] [-r BYTES] [-x CODE]
//
// -o copies all input to the file /outputs/NAME; -s sleeps; -r prints random bytes in hexadecimal; -x exits with a code.
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct counts {
    unsigned long bytes, lines, words;
};

static FILE *copy;

static struct counts count(FILE *file) {
    struct counts counts = {0, 0, 0};
    int c, in_word = 0;
    while ((c = getc(file)) != EOF) {
        if (copy) putc(c, copy);
        counts.bytes++;
        counts.lines += c == '\n';
        int space = c == ' ' || c == '\n' || c == '\t' || c == '\r';
        counts.words += !space && !in_word;
        in_word = !space;
    }
    return counts;
}

static void print(const char *name, struct counts counts, const char *end) {
    printf("\"%s\": {\"bytes\": %lu, \"lines\": %lu, \"words\": %lu}%s", name, counts.bytes, counts.lines, counts.words, end);
}

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    return 2;
}

static int survey_files(void) {
    DIR *folder = opendir("/inputs");
    if (!folder) return fail("/inputs");
    struct dirent *entry;
    while ((entry = readdir(folder))) {
        char path[4096];
        struct stat stat_;
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/inputs/%s", entry->d_name);
        if (stat(path, &stat_) != 0) return fail(path);
        if (S_ISDIR(stat_.st_mode)) continue;
        FILE *file = fopen(path, "r");
        if (!file) return fail(path);
        struct counts counts = count(file);
        if (counts.bytes != (unsigned long)stat_.st_size) return fail("the size is another");
        fclose(file);
        print(entry->d_name, counts, ", ");
    }
    closedir(folder);
    return 0;
}

int main(int argc, char **argv) {
    int option, code = 0, random_bytes = 0, seconds = 0;
    const char *output = NULL;
    while ((option = getopt(argc, argv, "o:s:r:x:")) != -1) {
        switch (option) {
        case 'o': output = optarg; break;
        case 's': seconds = atoi(optarg); break;
        case 'r': random_bytes = atoi(optarg); break;
        case 'x': code = atoi(optarg); break;
        default: return 1;
        }
    }
    if (output) {
        char path[4096];
        snprintf(path, sizeof path, "/outputs/%s", output);
        copy = fopen(path, "w");
        if (!copy) return fail(path);
    }
    time_t before = time(NULL);
    if (seconds) sleep(seconds);
    fprintf(stderr, "surveying after %d s\n", (int)(time(NULL) - before));
    printf("{");
    int failed = survey_files();
    if (failed) return failed;
    if (random_bytes) {
        unsigned char bytes[256];
        if (random_bytes > 256) random_bytes = 256;
        if (getentropy(bytes, random_bytes) != 0) return fail("getentropy");
        printf("\"random\": \"");
        for (int i = 0; i < random_bytes; i++) printf("%02x", bytes[i]);
        printf("\", ");
    }
    const char *home = getenv("HOME");
    printf("\"home\": \"%s\", ", home ? home : "");
    print("standard input", count(stdin), "}\n");
    if (copy && fclose(copy) != 0) return fail("the copy");
    if (code) fprintf(stderr, "exiting as told");
    return code;
}
