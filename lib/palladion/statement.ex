defmodule Palladion.Statement do
  @moduledoc false
  # What a CQL statement does and to what, read from its first words, and its text without
  # passwords. It is no parser: whatever isn't recognised is `nil`, and a statement that could
  # hold a password shows only what is certain to be none.

  @type analysis :: %{
          operation: String.t() | nil,
          collection: String.t() | nil,
          keyspace: String.t() | nil,
          summary: String.t() | nil
        }

  @unknown %{operation: nil, collection: nil, keyspace: nil, summary: nil}

  # The usual spellings are looked up; only a mixture of both is converted.
  @common ~w(SELECT INSERT INTO UPDATE DELETE BEGIN BATCH TRUNCATE USE CREATE ALTER DROP)
  @capitals for word <- @common,
                spelling <- [word, String.downcase(word)],
                into: %{},
                do: {spelling, word}

  # No keyword of CQL is longer.
  @longest_keyword 16

  defguardp is_space(byte) when byte in [?\s, ?\n, ?\t, ?\r]

  defguardp is_word(byte)
            when byte in ?a..?z or byte in ?A..?Z or byte in ?0..?9 or byte == ?_

  @doc false
  # Names are as they were written, with their quotes; a collection has its keyspace before it
  # if the statement says so.
  @spec analyse(term()) :: analysis()
  def analyse(statement) when is_binary(statement) do
    {verb, rest} = keyword(statement)

    case verb do
      "SELECT" -> rest |> from() |> on_table("SELECT")
      "INSERT" -> rest |> after_keyword("INTO") |> on_table("INSERT")
      "UPDATE" -> on_table(rest, "UPDATE")
      "DELETE" -> rest |> from() |> on_table("DELETE")
      "TRUNCATE" -> rest |> after_optional(["TABLE", "COLUMNFAMILY"]) |> on_table("TRUNCATE")
      "USE" -> on_keyspace(rest, "USE")
      "BEGIN" -> batch(rest)
      "CREATE" -> on_object(rest, "CREATE")
      "ALTER" -> on_object(rest, "ALTER")
      "DROP" -> on_object(rest, "DROP")
      "DESC" -> of_operation("DESCRIBE")
      verb when verb in ["GRANT", "REVOKE", "LIST", "ADD", "DESCRIBE"] -> of_operation(verb)
      _other -> @unknown
    end
  end

  def analyse(_other), do: @unknown

  defp of_operation(operation), do: %{@unknown | operation: operation, summary: operation}

  defp on_table(rest, operation) do
    case qualified(rest) do
      {keyspace, name} ->
        %{
          operation: operation,
          collection: name,
          keyspace: keyspace,
          summary: <<operation::binary, " ", name::binary>>
        }

      nil ->
        of_operation(operation)
    end
  end

  # What isn't a table but may stand in a keyspace.
  defp on_other(rest, operation), do: %{on_table(rest, operation) | collection: nil}

  defp on_keyspace(rest, operation) do
    case name(rest) do
      {name, _rest} ->
        %{
          operation: operation,
          collection: nil,
          keyspace: name,
          summary: operation <> " " <> name
        }

      nil ->
        of_operation(operation)
    end
  end

  defp batch(rest) do
    rest = after_optional(rest, ["UNLOGGED", "LOGGED", "COUNTER"])
    if match?({"BATCH", _rest}, keyword(rest)), do: of_operation("BATCH"), else: @unknown
  end

  defp on_object(rest, verb) do
    {object, rest} = object(rest)
    operation = verb <> " " <> object

    case object do
      "" ->
        of_operation(verb)

      "KEYSPACE" ->
        rest |> after_if() |> on_keyspace(operation)

      table when table in ["TABLE", "MATERIALIZED VIEW"] ->
        rest |> after_if() |> on_table(operation)

      on when on in ["INDEX", "TRIGGER"] ->
        rest |> after_if() |> on_index(verb, operation)

      account when account in ["ROLE", "USER", "IDENTITY"] ->
        of_operation(operation)

      _other ->
        rest |> after_if() |> on_other(operation)
    end
  end

  # The kind of a schema's object, under its usual name; `""` if it is none that is known.
  defp object(rest) do
    {word, after_word} = keyword(rest)

    case word do
      "OR" -> after_word |> after_keyword("REPLACE") |> object()
      "CUSTOM" -> object(after_word)
      "MATERIALIZED" -> {"MATERIALIZED VIEW", after_keyword(after_word, "VIEW")}
      "COLUMNFAMILY" -> {"TABLE", after_word}
      "SCHEMA" -> {"KEYSPACE", after_word}
      known when known in ~w(KEYSPACE TABLE INDEX TYPE FUNCTION AGGREGATE) -> {known, after_word}
      known when known in ~w(TRIGGER ROLE USER IDENTITY) -> {known, after_word}
      _other -> {"", rest}
    end
  end

  # `DROP INDEX` alone doesn't say of which table.
  defp on_index(rest, "DROP", "DROP INDEX" = operation), do: on_other(rest, operation)

  defp on_index(rest, _verb, operation) do
    with {on, _rest} when on != "ON" <- keyword(rest),
         {_name, after_name} <- name(rest),
         {"ON", after_on} <- keyword(after_name) do
      on_table(after_on, operation)
    else
      {"ON", after_on} -> on_table(after_on, operation)
      _unclear -> of_operation(operation)
    end
  end

  @doc false
  # Whether there is a bind marker outside of literals and comments.
  @spec markers?(term()) :: boolean()
  def markers?(<<??, _rest::binary>>), do: true
  def markers?(<<?:, letter, _rest::binary>>) when letter in ?a..?z or letter in ?A..?Z, do: true
  def markers?(<<?:, ?", _rest::binary>>), do: true

  def markers?(<<byte, rest::binary>>) when is_word(byte) or is_space(byte),
    do: markers?(rest)

  def markers?(<<_byte, _rest::binary>> = statement), do: statement |> after_token() |> markers?()
  def markers?(_end_or_no_text), do: false

  # ---- passwords

  # Literals of these are data as in any program; none of them makes a role.
  @data ~w(SELECT INSERT UPDATE DELETE BEGIN TRUNCATE USE)
  @accounts ~w(GRANT REVOKE LIST DROP ADD DESCRIBE DESC)

  # What may follow the name of a role or a hidden literal. Nothing else is shown there: with
  # quotes out of place it could be a part of the password.
  @options ~w(WITH AND PASSWORD HASHED GENERATED LOGIN SUPERUSER NOSUPERUSER OPTIONS TRUE FALSE
              ACCESS TO FROM ALL DATACENTERS CIDRS)
  @hidden "'***'"
  @cut "***"

  @doc false
  # The text as it may be shown. Of statements about roles and users every literal but the
  # name is hidden, and so is what is unclear. `nil` for what is no text.
  @spec obfuscate(term()) :: String.t() | nil
  def obfuscate(statement) when is_binary(statement) do
    {verb, rest} = keyword(statement)

    cond do
      verb in @data ->
        unless_followed(statement)

      verb in ["CREATE", "ALTER"] ->
        {object, _rest} = object(rest)
        if object in ["", "ROLE", "USER"], do: hide(statement), else: unless_followed(statement)

      verb in @accounts ->
        if statement =~ ~r/\bpassword\b/i, do: hide(statement), else: statement

      true ->
        hide(statement)
    end
  end

  def obfuscate(_other), do: nil

  # The server refuses a second statement behind a semicolon, but only after it was shown here.
  defp unless_followed(statement) do
    with {at, 1} <- :binary.match(statement, ";"),
         true <- at < byte_size(statement) - 1,
         true <- statement =~ ~r/\b(?:role|user)\b.*\bpassword\b/is do
      hide(statement)
    else
      _alone -> statement
    end
  end

  defp hide(statement), do: hide(statement, "", :open)

  # The modes: `:open` shows words, `:name` is where a role's name stands, and `:strict` is
  # behind it.
  defp hide(<<>>, shown, _mode), do: shown

  defp hide(<<byte, rest::binary>>, shown, mode) when is_space(byte),
    do: hide(rest, <<shown::binary, byte>>, mode)

  defp hide(<<byte, _rest::binary>> = statement, shown, mode) when is_word(byte) do
    {word, rest} = word(statement)
    upper = upcase(word)

    case mode do
      :name when upper in ["IF", "NOT", "EXISTS"] -> hide(rest, shown <> word, :name)
      :name -> hide(rest, shown <> word, :strict)
      :strict when upper in @options -> hide(rest, shown <> word, :strict)
      :strict -> shown <> @cut
      :open when upper in ["ROLE", "USER"] -> hide(rest, shown <> word, :name)
      :open when upper in ["WITH", "PASSWORD"] -> hide(rest, shown <> word, :strict)
      :open -> hide(rest, shown <> word, :open)
    end
  end

  defp hide(<<byte, _rest::binary>> = statement, shown, mode) do
    rest = after_token(statement)
    token = binary_part(statement, 0, byte_size(statement) - byte_size(rest))

    case token do
      <<_byte>> when byte in [?', ?"] -> shown <> @cut
      "$$" -> shown <> @cut
      <<_byte>> when mode == :strict and byte not in ~c"={}:,;" -> shown <> @cut
      <<_byte>> when mode == :name -> hide(rest, shown <> token, :strict)
      <<_byte>> -> hide(rest, shown <> token, mode)
      <<"$$", _rest::binary>> -> hide(rest, shown <> @hidden, :strict)
      _quoted when byte in [?', ?"] -> hide(rest, shown <> literal(token, mode), :strict)
      _comment -> hide(rest, shown <> " ", mode)
    end
  end

  # With such signs in it, it's more likely that a quote is missing.
  defp literal(token, :name) do
    inner = binary_part(token, 1, byte_size(token) - 2)
    if :binary.match(inner, ["=", "'", "\""]) == :nomatch, do: token, else: @hidden
  end

  defp literal(_token, _mode), do: @hidden

  # ---- words

  # The next word in capitals, or `""`, and what follows it.
  defp keyword(rest) do
    {word, rest} = rest |> skip() |> word()
    {upcase(word), rest}
  end

  defp after_keyword(rest, keyword) do
    case keyword(rest) do
      {^keyword, rest} -> rest
      _other -> ""
    end
  end

  defp after_optional(rest, keywords) do
    {word, after_word} = keyword(rest)
    if word in keywords, do: after_word, else: rest
  end

  defp after_if(rest) do
    case keyword(rest) do
      {"IF", rest} -> rest |> after_optional(["NOT"]) |> after_keyword("EXISTS")
      _no_condition -> rest
    end
  end

  defp word(text), do: word(text, text, 0)

  defp word(<<byte, rest::binary>>, text, size) when is_word(byte), do: word(rest, text, size + 1)
  defp word(rest, text, size), do: {binary_part(text, 0, size), rest}

  defp upcase(word) do
    case @capitals do
      %{^word => capitals} -> capitals
      _rare when byte_size(word) <= @longest_keyword -> String.upcase(word, :ascii)
      _too_long -> ""
    end
  end

  # `{keyspace | nil, the whole name}`
  defp qualified(rest) do
    with {first, rest} <- name(rest) do
      with <<?., rest::binary>> <- skip(rest),
           {second, _rest} <- name(rest) do
        {first, <<first::binary, ".", second::binary>>}
      else
        _alone -> {nil, first}
      end
    end
  end

  defp name(rest) do
    rest = skip(rest)

    case rest do
      <<byte, _rest::binary>> when is_word(byte) ->
        word(rest)

      <<?", _rest::binary>> ->
        left = after_token(rest)
        size = byte_size(rest) - byte_size(left)
        if size > 1, do: {binary_part(rest, 0, size), left}

      _other ->
        nil
    end
  end

  # What follows the word FROM, which no name is without quotes.
  defp from(<<f, r, o, m, rest::binary>> = text)
       when f in [?F, ?f] and r in [?R, ?r] and o in [?O, ?o] and m in [?M, ?m] do
    case rest do
      <<byte, _rest::binary>> when is_word(byte) -> text |> after_word() |> from()
      _end_of_word -> rest
    end
  end

  defp from(<<byte, rest::binary>>) when is_space(byte) or byte in [?,, ?*, ?(, ?)],
    do: from(rest)

  defp from(<<byte, rest::binary>>) when is_word(byte), do: rest |> after_word() |> from()
  defp from(<<_byte, _rest::binary>> = text), do: text |> after_token() |> from()
  defp from(<<>>), do: ""

  defp after_word(<<byte, rest::binary>>) when is_word(byte), do: after_word(rest)
  defp after_word(rest), do: rest

  defp skip(<<byte, rest::binary>>) when is_space(byte), do: skip(rest)

  defp skip(<<first, second, _rest::binary>> = text)
       when (first == ?- and second == ?-) or (first == ?/ and second in [?/, ?*]),
       do: text |> after_token() |> skip()

  defp skip(rest), do: rest

  # Behind a comment, a quoted text, or else one byte. A quote that is never closed is one byte.
  defp after_token(<<"--", rest::binary>>), do: after_line(rest)
  defp after_token(<<"//", rest::binary>>), do: after_line(rest)
  defp after_token(<<"/*", rest::binary>>), do: after_mark(rest, "*/", "")
  defp after_token(<<"$$", rest::binary>>), do: after_mark(rest, "$$", rest)
  defp after_token(<<?', rest::binary>>), do: after_quote(rest, ?', rest)
  defp after_token(<<?", rest::binary>>), do: after_quote(rest, ?", rest)
  defp after_token(<<_byte, rest::binary>>), do: rest

  defp after_line(rest) do
    case :binary.match(rest, ["\n", "\r"]) do
      {at, 1} -> binary_part(rest, at, byte_size(rest) - at)
      :nomatch -> ""
    end
  end

  defp after_mark(rest, mark, otherwise) do
    case :binary.match(rest, mark) do
      {at, 2} -> binary_part(rest, at + 2, byte_size(rest) - at - 2)
      :nomatch -> otherwise
    end
  end

  # A quote within is written twice.
  defp after_quote(<<quote, quote, rest::binary>>, quote, otherwise),
    do: after_quote(rest, quote, otherwise)

  defp after_quote(<<quote, rest::binary>>, quote, _otherwise), do: rest

  defp after_quote(<<_byte, rest::binary>>, quote, otherwise),
    do: after_quote(rest, quote, otherwise)

  defp after_quote(<<>>, _quote, otherwise), do: otherwise
end
