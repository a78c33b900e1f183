defmodule Palladion.Test.Authority do
  @moduledoc """
  An authority of a test's own, by `openssl`, for certificates that nothing else issues.

      authority = Authority.create!(directory, "ca")
      {cert, key} = Authority.issue!(authority, "server", extensions: ["subjectAltName=DNS:localhost"])
      crl = Authority.revoke!(authority, [cert])
  """

  import Palladion.Test.Certificates, only: [openssl!: 1, write!: 3]

  @enforce_keys [:directory, :cert, :key]
  defstruct [:directory, :cert, :key]

  @type t :: %__MODULE__{directory: Path.t(), cert: Path.t(), key: Path.t()}

  # Without any, older versions of OpenSSL make X.509 v1.
  @none ["basicConstraints=CA:FALSE"]

  @new_key ~w(-newkey rsa:2048 -nodes)

  @doc "A new one, whose files are in the directory."
  @spec create!(Path.t(), String.t()) :: t
  def create!(directory, name) do
    extensions = ~w(basicConstraints=critical,CA:TRUE keyUsage=critical,keyCertSign,cRLSign)
    {cert, key} = self_signed!(directory, name, extensions: extensions)
    %__MODULE__{directory: directory, cert: cert, key: key}
  end

  @doc "One that is there: its certificate and key. What it issues is put into the directory."
  @spec open(Path.t(), Path.t(), Path.t()) :: t
  def open(directory, cert, key), do: %__MODULE__{directory: directory, cert: cert, key: key}

  @doc "A certificate that signs itself, with these `extensions:`: its path and that of its key."
  @spec self_signed!(Path.t(), String.t(), keyword) :: {Path.t(), Path.t()}
  def self_signed!(directory, name, opts \\ []) do
    {cert, key} = paths(directory, name)
    config = write!(directory, "#{name}.cnf", config(opts[:extensions] || @none))

    openssl!(
      ["req", "-x509", "-config", config, "-days", "30", "-subj", "/CN=#{name}"] ++
        @new_key ++ ["-keyout", key, "-out", cert]
    )

    {cert, key}
  end

  @doc """
  Signs a new certificate, with these `extensions:`: its path and that of its key. `v1: true` makes X.509 v1, which has none.
  """
  @spec issue!(t, String.t(), keyword) :: {Path.t(), Path.t()}
  def issue!(authority, name, opts \\ []) do
    {cert, key} = paths(authority.directory, name)
    request = Path.join(authority.directory, "#{name}.csr")
    openssl!(["req", "-subj", "/CN=#{name}"] ++ @new_key ++ ["-keyout", key, "-out", request])
    signer = ["-in", request, "-CA", authority.cert, "-CAkey", authority.key, "-days", "30"]
    sign!(authority, name, signer ++ ["-set_serial", serial(), "-out", cert], opts)
    {cert, key}
  end

  defp sign!(authority, name, arguments, v1: true) do
    # Only since version 3.2 must OpenSSL be asked for it.
    {help, 0} = System.cmd("openssl", ["req", "-help"], stderr_to_stdout: true)
    # Extensions, which the system's configuration may add, would make it v3.
    bare = write!(authority.directory, "bare.cnf", "[req]\ndistinguished_name = dn\n[dn]\n")

    command =
      if help =~ "-x509v1",
        do: ["req", "-x509", "-x509v1", "-config", bare],
        else: ["x509", "-req"]

    openssl!(command ++ arguments)
    {text, 0} = System.cmd("openssl", ["x509", "-noout", "-text", "-in", List.last(arguments)])
    unless text =~ "Version: 1 ", do: raise("#{name} of #{authority.directory} is not X.509 v1")
  end

  defp sign!(authority, name, arguments, opts) do
    extensions = Enum.join(opts[:extensions] || @none, "\n")
    file = write!(authority.directory, "#{name}.ext", extensions)
    openssl!(["x509", "-req", "-extfile", file] ++ arguments)
  end

  defp serial, do: to_string(System.unique_integer([:positive]))

  @doc "A list of revoked certificates with these: its path."
  @spec revoke!(t, [Path.t()]) :: Path.t()
  def revoke!(authority, certificates) do
    name = "crl-#{System.unique_integer([:positive])}"
    database = write!(authority.directory, "#{name}.txt", "")
    number = write!(authority.directory, "#{name}-number.txt", "01")

    config =
      write!(authority.directory, "#{name}.cnf", """
      [ca]
      default_ca = authority
      [authority]
      database = #{database}
      certificate = #{authority.cert}
      private_key = #{authority.key}
      default_md = sha256
      default_crl_days = 30
      crlnumber = #{number}
      crl_extensions = list
      [list]
      authorityKeyIdentifier = keyid
      """)

    for certificate <- certificates,
        do: openssl!(["ca", "-config", config, "-revoke", certificate])

    crl = Path.join(authority.directory, "#{name}.pem")
    openssl!(["ca", "-config", config, "-gencrl", "-out", crl])
    crl
  end

  defp paths(directory, name) do
    {Path.join(directory, "#{name}.crt"), Path.join(directory, "#{name}.key")}
  end

  # OpenSSL's own configuration would add extensions.
  defp config(extensions) do
    """
    [req]
    distinguished_name = name
    x509_extensions = extensions
    [name]
    [extensions]
    #{Enum.join(extensions, "\n")}
    """
  end
end
