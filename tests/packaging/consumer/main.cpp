#include <iostream>

#include "all.hpp"

std::string sentence_of(const std::string& model);

int main(int, char** arguments) { std::cout << sentence_of(arguments[1]) << std::endl; }
